"""The outermost layer: what every answer has in common.

Promises: each answer carries `X-Request-ID`, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`; a page
that a provider or a tenant's own endpoint answers with runs nothing, so that it cannot act with the session of the
person who opens it (`Content-Security-Policy: sandbox`); each request leaves one log line and one count, with the
template of its route and never its path, query, headers or body; a problem that belongs in the audit trail is recorded
there; an unexpected error becomes a 500 without detail, and only its type, its place and the request id are logged.
A crash in the middle of an answer leaves it incomplete, so that a client cannot mistake it for a complete one.
"""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.front.auth import Actor
from api.front.bounds.pieces import Pieces
from api.front.exchange import Exchange, open_exchange
from api.front.metrics import Metrics
from api.front.problems import internal_problem, problem_response, shutdown_problem
from api.front.refused_requests import RouteNames, method_of, record_refused_request
from api.front.services import services_in_force
from api.front.stored_key_in_id import keep_stored_key_out
from api.front.unexpected_errors import log_unexpected

_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_OWN = frozenset({b"x-request-id", *(name for name, _ in _ALWAYS)})
_POLICY = (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'")
"""Of answers that have none of their own: pages of this service do."""
_access_log = logging.getLogger("keyledger.access")


class Envelope:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: RouteNames) -> None:
        self._app = app
        self._metrics = metrics
        self._pieces = Pieces()
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of any kind; only HTTP requests are handled."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = open_exchange(scope, services_in_force(scope).proxies)
        status: int | None = None
        begun = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, exchange)
            await self._pieces.send(send, message)

        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the server is shutting down and no longer waits
            if status is None:
                await keep_stored_key_out(scope, 503)
                await problem_response(shutdown_problem(), scope)(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001  the last resort; the text of the error may hold anything
            await keep_stored_key_out(scope, 500)
            log_unexpected(error, exchange.request_id)
            if status is None:
                await problem_response(internal_problem(), scope)(scope, receive, send_with_headers)
        finally:
            self._record(scope, exchange, status, time.perf_counter() - begun)

    def _record(self, scope: Scope, exchange: Exchange, status: int | None, seconds: float) -> None:
        method, route = method_of(scope), self._routes.of(scope)
        self._metrics.request(method, route, status, seconds)
        record_refused_request(services_in_force(scope), scope, exchange, route)
        fields = {
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "request_id": exchange.request_id,
            "actor": _logged(exchange.actor),
            "code": exchange.refused,
        }
        level = logging.WARNING if status is None or status >= 500 else logging.INFO
        _access_log.log(level, "request", extra=fields)


def _logged(actor: Actor | None) -> str | None:
    """Return a caller as the log shows it: a log is not erased with a person."""
    if actor is None:
        return None
    return f"({actor.role.value} of an issuer)" if actor.external else actor.name


def _add_headers(message: Message, exchange: Exchange) -> None:
    own = [(b"x-request-id", exchange.request_id.encode("ascii")), *_ALWAYS]
    kept = [one for one in message.get("headers", ()) if one[0].lower() not in _OWN]
    policy = () if any(name.lower() == _POLICY[0] for name, _ in kept) else (_POLICY,)
    message["headers"] = [*kept, *own, *policy]
