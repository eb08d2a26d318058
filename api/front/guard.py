"""What every request under /api passes before routing, in this order: key, role, feature switch, reason, body.

Promises: nothing of a request but its headers is looked at before its key is known to be valid; no endpoint runs for a
role that was not granted it; what endpoints get as body is one strictly parsed JSON object that arrived in time and
within its limit, or no body at all. Only a provider's own API gets bodies of any kind, as they come (`native`). No
reason with a key in it goes on.
Refuses by itself, in problems that repeat nothing of the request. It keeps no state, so a crash loses nothing.
"""

import asyncio

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.front.auth import READ, Actor, may
from api.front.bodies import CLOSE, Limits, announces_body, declared_length, read_whole, refuse, too_large, too_slow
from api.front.exchange import Exchange, Json, exchange_of
from api.front.paths import is_about_credentials, is_guarded, is_native, routed_path, speaks_openai
from api.front.problems import HttpError, problem_of
from api.front.services import Services, services_in_force
from api.front.strict_json import parse
from domain.credentials.secret import Secret
from domain.errors import InvalidField, InvalidRequestError

_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
_PARSED_INLINE_MAX = 256 * 1024
REASON_MAX = 500
"""Characters of a reason: a sentence or two and a ticket's number."""


class Guard:
    """ASGI middleware in front of routing."""

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it."""
        if scope["type"] != "http" or not is_guarded(path := routed_path(scope)):
            await self._app(scope, receive, send)
            return
        exchange, headers, services = exchange_of(scope), Headers(scope=scope), services_in_force(scope)
        try:
            exchange.actor = _authenticate(services, path, headers, exchange)
            _admit(services, exchange.actor, scope["method"], path, headers)
            exchange.reason = _reason(services, scope["method"], path, headers)
            text = None if is_native(path) else await self._body(scope["method"], path, headers, receive)
            exchange.body = await _object_of(text) if text else None
            if is_about_credentials(path):
                exchange.take_note_of(*_keys_in(exchange.body))
            exchange.require_no_key("X-Audit-Reason", exchange.reason or "")
        except (HttpError, InvalidRequestError) as refusal:
            await refuse(problem_of(refusal), scope, receive, send, self._limits)
            return
        await self._app(scope, receive if text is None else _replay(text, receive), send)

    async def _body(self, method: str, path: str, headers: Headers, receive: Receive) -> bytes:
        """Return the body, empty where the method has none. Raises HttpError."""
        if method not in _WITH_BODY or not announces_body(headers):
            return b""
        _check_media_type(headers)
        for_llm = speaks_openai(path)
        limit = self._limits.llm_bytes if for_llm else self._limits.admin_bytes
        seconds = self._limits.llm_seconds if for_llm else self._limits.admin_seconds
        if declared_length(headers) > limit:
            raise too_large(limit)
        try:
            async with asyncio.timeout(seconds):
                return await read_whole(receive, limit)
        except TimeoutError:
            raise too_slow(seconds) from None


def _authenticate(services: Services, path: str, headers: Headers, exchange: Exchange) -> Actor:
    presented = _presented(headers, ("x-api-key", "api-key") if is_native(path) else ("x-api-key",))
    exchange.take_note_of(*map(Secret, presented))
    known = presented.pop().encode("latin-1") if len(presented) == 1 else None
    actor = services.authenticator.authenticate(known) if known is not None else None
    if actor is None:
        detail = "Send a valid key as X-API-Key or as Authorization: Bearer. Two different keys count as none."
        challenge = {"WWW-Authenticate": 'Bearer realm="keyledger"'}
        raise HttpError("unauthenticated", detail, challenge | _closing(headers))
    return actor


def _admit(services: Services, actor: Actor, method: str, path: str, headers: Headers) -> None:
    closing = _closing(headers)
    if not may(actor.role, method, path):
        raise HttpError("forbidden", f"The role {actor.role.value} may not do this.", closing)
    if is_about_credentials(path) and not services.tenant_credentials:
        detail = "Tenant credentials are switched off. An operator can set TENANT_CREDENTIALS_ENABLED=true."
        raise HttpError("feature_disabled", detail, closing)


def _reason(services: Services, method: str, path: str, headers: Headers) -> str | None:
    """Return why the caller does this, in its own words. Raises HttpError."""
    if not is_about_credentials(path):
        return None
    sent = headers.getlist("x-audit-reason")
    if not sent:
        if services.reason_required and method not in READ:
            detail = "Say why in the header X-Audit-Reason: this service records the reason of every change."
            raise HttpError("reason-required", detail, _closing(headers))
        return None
    try:
        reason = sent[0].encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        reason = ""
    if len(sent) > 1 or not 1 <= len(reason) <= REASON_MAX or not reason.isprintable():
        detail = f"X-Audit-Reason must be one text of 1 to {REASON_MAX} printable characters in UTF-8."
        raise HttpError("malformed-header", detail, _closing(headers))
    return reason


def _presented(headers: Headers, names: tuple[str, ...]) -> set[str]:
    """Return the keys that the headers show. Only a single one lets anybody in."""
    keys = {value.strip() for name in names for value in headers.getlist(name)}
    for value in headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            keys.add(token.strip())
    return keys


def _keys_in(body: Json | None) -> tuple[Secret, ...]:
    """Return the key that a body brings to be stored."""
    key = (body or {}).get("api_key")
    return (Secret(key.strip()),) if isinstance(key, str) else ()


def _closing(headers: Headers) -> dict[str, str]:
    return CLOSE if announces_body(headers) else {}


def _check_media_type(headers: Headers) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    encoded = headers.get("content-encoding", "identity").strip().lower() != "identity"
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"} or encoded:
        detail = "Send the body as application/json in UTF-8, without a content encoding."
        raise HttpError("unsupported-media-type", detail, CLOSE)


async def _object_of(text: bytes) -> Json:
    # A long text would hold the event loop, and with it everybody else's request.
    value = parse(text) if len(text) <= _PARSED_INLINE_MAX else await run_in_threadpool(parse, text)
    if not isinstance(value, dict):
        raise InvalidRequestError([InvalidField("the body", "must be a JSON object")])
    return value


def _replay(text: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the checked body once and then only tells of the end of the connection."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": text, "more_body": False}
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message

    return replayed
