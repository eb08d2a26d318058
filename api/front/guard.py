"""Admission of every request under /api by its headers alone, in this order: key, role, feature switch, reason.

Promises: nothing behind the guard sees a request whose key is not valid or whose role was not granted the operation.
The guard never reads a body. Problems repeat no part of the request. Requests without a valid key are slowed and locked
out by address (`failed_keys`); a valid key is served at once, whatever others at its address do. A request with an
access key or an issuer's token is admitted here, on what ledger and rules say now; a call to a model where its key is
resolved. No session opens a WebSocket: a browser would send its cookie along from a page of anyone.
"""

from dataclasses import replace

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.front.admitted_answer import AdmittedAnswer
from api.front.auth import READ, Actor, may
from api.front.bodies import CLOSE, Limits, announces_body, refuse
from api.front.callers import RequestAdmission
from api.front.exchange import Exchange, exchange_of
from api.front.failed_keys import FailedKeys
from api.front.metrics import Metrics
from api.front.paths import is_about_credentials, is_call, is_guarded, is_native, is_switched, named_in, routed_path
from api.front.presented_token import present_session, present_token
from api.front.problems import CHALLENGE, HttpError, Problem, problem_of
from api.front.services import Services, services_in_force
from api.front.web_socket.handshake import asks_for_web_socket, keys_in_subprotocols
from domain.audit.client_network import network_of
from domain.audit.request_events import Lockout
from domain.credentials.secret import Secret
from domain.errors import ServiceError

REASON_MAX = 500
"""Characters of a reason: a sentence or two and a ticket's number."""


class Guard:
    """ASGI middleware in front of routing."""

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics, failed_keys: FailedKeys) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._failed_keys = failed_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it."""
        if scope["type"] != "http" or not is_guarded(path := routed_path(scope)):
            await self._app(scope, receive, send)
            return
        exchange, headers, services = exchange_of(scope), Headers(scope=scope), services_in_force(scope)
        try:
            presented = _presented(headers, ("x-api-key", "api-key") if is_native(path) else ("x-api-key",))
            if by_socket := is_native(path) and asks_for_web_socket(scope["headers"]):
                presented |= keys_in_subprotocols(scope["headers"])
            exchange.actor = _authenticate(services, presented, exchange)
            if exchange.actor is None:
                await present_token(services, presented, scope, path)
            if exchange.actor is None and not presented and not by_socket:
                await present_session(services, scope, path, headers)
            if exchange.actor is None:
                raise await self._unauthenticated(services, presented, headers, exchange)
            self._failed_keys.served(network_of(exchange.client_address))
            if exchange.admission is not None:
                await _admit_now(exchange.admission, exchange.actor, scope["method"], path)
            _admit(services, exchange.actor, scope["method"], path, headers)
            exchange.reason = _reason(services, scope["method"], path, headers)
        except (HttpError, ServiceError) as refused:
            await refuse(_problem(refused, headers), scope, receive, send, self._limits)
            return
        await self._pass_on(scope, receive, send, exchange.admission, path)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, admission: RequestAdmission | None, path: str
    ) -> None:
        tenant = named_in(scope, path)[0] if is_call(scope["method"], path) else None
        if admission is None and tenant is None:
            await self._app(scope, receive, send)
            return
        answer = AdmittedAnswer(admission, scope, receive, send, self._limits)
        revoked = services_in_force(scope).revoked_calls
        try:
            await revoked.serve(self._app(scope, receive, answer), admission, tenant)
        except ServiceError as ended:  # every other error is answered further in
            if answer.begun:
                exchange_of(scope).refused = ended.code
            else:
                await refuse(problem_of(ended), scope, receive, send, self._limits)
        finally:
            if admission is not None:
                admission.release()

    async def _unauthenticated(
        self, services: Services, presented: set[str], headers: Headers, exchange: Exchange
    ) -> HttpError:
        """Return the error for a request without a valid key, once it is time to answer."""
        closing, policy = _closing(headers), services.lockout
        key = next(iter(presented)) if len(presented) == 1 else None
        failure = self._failed_keys.note(network_of(exchange.client_address), key, policy)
        self._metrics.failed_authentication(locked_out=failure.retry_after is not None)
        if failure.begins_lockout:
            self._metrics.locked_out()
            services.audit_recorder.locked_out(exchange.meta(""), Lockout(seconds=policy.seconds))
        if not await self._failed_keys.wait(failure):
            closing = CLOSE
        if failure.retry_after is not None:
            detail = "Too many invalid API keys came from this address. A valid key is still served at once."
            return HttpError("locked-out", detail, {"Retry-After": str(failure.retry_after)} | closing)
        detail = "Missing or invalid API key. Send exactly one key, as X-API-Key or Authorization: Bearer."
        return HttpError("unauthenticated", detail, CHALLENGE | closing)


async def _admit_now(admission: RequestAdmission, actor: Actor, method: str, path: str) -> None:
    """Admit a request, unless it is a call: the statement that resolves its key admits it.

    Raises AccessError, CredentialIntegrityError, StoreUnavailableError.
    """
    calls = is_call(method, path)
    if calls and may(actor.role, method, path):
        return
    if calls:
        admission.fails()
    await admission.read()


def _problem(refused: HttpError | ServiceError, headers: Headers) -> Problem:
    problem = problem_of(refused)
    if isinstance(refused, HttpError):
        return problem
    return replace(problem, headers={**problem.headers, **_closing(headers)})


def _authenticate(services: Services, presented: set[str], exchange: Exchange) -> Actor | None:
    exchange.take_note_of(*map(Secret, presented))
    authenticate = services.authenticator.authenticate
    if exchange.chosen_id and authenticate(exchange.request_id.encode()) is not None:
        exchange.replace_id()
    if len(presented) != 1:
        return None
    (key,) = presented
    return authenticate(key.encode("latin-1"))


def _admit(services: Services, actor: Actor, method: str, path: str, headers: Headers) -> None:
    closing = _closing(headers)
    if not may(actor.role, method, path):
        raise HttpError("forbidden", f"The role {actor.role.value} is not allowed to do this.", closing)
    if is_switched(path) and not services.tenant_credentials:
        detail = "Tenant credentials are disabled. An operator can enable them with TENANT_CREDENTIALS_ENABLED=true."
        raise HttpError("feature_disabled", detail, closing)


def _reason(services: Services, method: str, path: str, headers: Headers) -> str | None:
    """Return the reason the caller states, if any. Raises HttpError."""
    if not is_about_credentials(path):
        return None
    sent = headers.getlist("x-audit-reason")
    if not sent:
        if services.reason_required and method not in READ:
            detail = "State the reason in the X-Audit-Reason header: this service requires one for every change."
            raise HttpError("reason-required", detail, _closing(headers))
        return None
    try:
        reason = sent[0].encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        reason = ""
    if len(sent) > 1 or not 1 <= len(reason) <= REASON_MAX or not reason.isprintable():
        detail = f"X-Audit-Reason must be a single UTF-8 text of 1 to {REASON_MAX} printable characters."
        raise HttpError("malformed-header", detail, _closing(headers))
    return reason


def _presented(headers: Headers, names: tuple[str, ...]) -> set[str]:
    """Return the keys in the headers. A request with several different ones is not authenticated."""
    keys = {value.strip() for name in names for value in headers.getlist(name)}
    for value in headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            keys.add(token.strip())
    return keys


def _closing(headers: Headers) -> dict[str, str]:
    return CLOSE if announces_body(headers) else {}
