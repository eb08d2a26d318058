"""What every request under /api passes before routing, in this order: key, role, feature switch, reason, body.

Promises: nothing of a request but its headers is looked at before its key is known to be valid; no endpoint runs for a
role that was not granted it; what endpoints get as body is one strictly parsed JSON object that arrived in time and
within its limit, or no body at all.
Refuses by itself, in problems that repeat nothing of the request. It keeps no state, so a crash loses nothing.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import READ, Actor, Authenticator, may
from api.exchange import Json, exchange_of
from api.paths import is_about_credentials, is_guarded, routed_path, speaks_openai
from api.problems import HttpRefusal, problem_of, problem_response
from api.strict_json import MalformedJsonError, parse
from domain.errors import FieldFault, InvalidRequest

_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
_PARSED_INLINE_MAX = 256 * 1024
_CLOSE = {"Connection": "close"}
REASON_MAX = 500
"""Characters of a reason: a sentence or two and a ticket's number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a body is read, in bytes, and how long it may take to arrive, in seconds.

    linger: the same for a body that is thrown away after a refusal.
    """

    admin_bytes: int = 16 * 1024
    admin_seconds: float = 5.0
    llm_bytes: int = 8 * 1024 * 1024
    llm_seconds: float = 30.0
    linger_bytes: int = 64 * 1024
    linger_seconds: float = 1.0


class Guard:
    """ASGI middleware in front of routing."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        tenant_credentials: bool,
        limits: Limits,
        reason_required: bool = False,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._tenant_credentials = tenant_credentials
        self._reason_required = reason_required
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it."""
        if scope["type"] != "http" or not is_guarded(path := routed_path(scope)):
            await self._app(scope, receive, send)
            return
        exchange, headers = exchange_of(scope), Headers(scope=scope)
        try:
            exchange.actor = self._authenticate(headers)
            self._admit(exchange.actor, scope["method"], path, headers)
            exchange.reason = self._reason(scope["method"], path, headers)
            text = await self._body(scope["method"], path, headers, receive)
            exchange.body = await _object_of(text) if text else None
        except (HttpRefusal, InvalidRequest) as refusal:
            problem = problem_of(refusal)
            unread = problem.headers.get("Connection") == "close"
            await problem_response(problem, scope)(scope, receive, _held(send) if unread else send)
            if unread:
                await _throw_away_rest(receive, send, self._limits)
            return
        await self._app(scope, _replay(text, receive), send)

    def _authenticate(self, headers: Headers) -> Actor:
        presented = _presented(headers)
        actor = self._authenticator.authenticate(presented) if presented is not None else None
        if actor is None:
            detail = "Send a valid key as X-API-Key or as Authorization: Bearer. Two different keys are none."
            challenge = {"WWW-Authenticate": 'Bearer realm="keyledger"'}
            raise HttpRefusal("unauthenticated", detail, challenge | _closing(headers))
        return actor

    def _admit(self, actor: Actor, method: str, path: str, headers: Headers) -> None:
        closing = _closing(headers)
        if not may(actor.role, method, path):
            raise HttpRefusal("forbidden", f"The role {actor.role.value} may not do this.", closing)
        if is_about_credentials(path) and not self._tenant_credentials:
            detail = "Tenant credentials are switched off. An operator can set TENANT_CREDENTIALS_ENABLED=true."
            raise HttpRefusal("feature_disabled", detail, closing)

    def _reason(self, method: str, path: str, headers: Headers) -> str | None:
        """Return why the caller does this, in its own words. Raises HttpRefusal."""
        if not is_about_credentials(path):
            return None
        sent = headers.getlist("x-audit-reason")
        if not sent:
            if self._reason_required and method not in READ:
                detail = "Say why in the header X-Audit-Reason: this service records the reason of every change."
                raise HttpRefusal("reason-required", detail, _closing(headers))
            return None
        try:
            reason = sent[0].encode("latin-1").decode().strip()
        except UnicodeDecodeError:
            reason = ""
        if len(sent) > 1 or not 1 <= len(reason) <= REASON_MAX or not reason.isprintable():
            detail = f"X-Audit-Reason must be one text of 1 to {REASON_MAX} printable characters in UTF-8."
            raise HttpRefusal("malformed-header", detail, _closing(headers))
        return reason

    async def _body(self, method: str, path: str, headers: Headers, receive: Receive) -> bytes:
        """Return the body, empty where the method has none. Raises HttpRefusal."""
        if method not in _WITH_BODY or not _announces_body(headers):
            return b""
        _check_media_type(headers)
        for_llm = speaks_openai(path)
        limit = self._limits.llm_bytes if for_llm else self._limits.admin_bytes
        seconds = self._limits.llm_seconds if for_llm else self._limits.admin_seconds
        if _declared_length(headers) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(seconds):
                return await _read(receive, limit)
        except TimeoutError:
            raise HttpRefusal("request-timeout", f"The body did not arrive within {seconds:g} s.", _CLOSE) from None


def _presented(headers: Headers) -> bytes | None:
    """Return the one key that the headers show, or None when they show none or several."""
    keys = {value.strip() for value in headers.getlist("x-api-key")}
    for value in headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            keys.add(token.strip())
    return keys.pop().encode("latin-1") if len(keys) == 1 else None


def _closing(headers: Headers) -> dict[str, str]:
    return _CLOSE if _announces_body(headers) else {}


def _announces_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


def _declared_length(headers: Headers) -> int:
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit() and len(declared) < 19):
        raise HttpRefusal("malformed-header", "Content-Length is not a number of bytes.", _CLOSE)
    return int(declared)


def _check_media_type(headers: Headers) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    encoded = headers.get("content-encoding", "identity").strip().lower() != "identity"
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"} or encoded:
        detail = "Send the body as application/json in UTF-8, without a content encoding."
        raise HttpRefusal("unsupported-media-type", detail, _CLOSE)


async def _read(receive: Receive, limit: int) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpRefusal("request-timeout", "The connection ended before the body did.", _CLOSE)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(limit: int) -> HttpRefusal:
    return HttpRefusal("body-too-large", f"The body may have at most {limit} bytes.", _CLOSE)


def _held(send: Send) -> Send:
    """Return a `send` that passes an answer on and keeps it from being the end of the connection."""

    async def held(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    return held


async def _throw_away_rest(receive: Receive, send: Send, limits: Limits) -> None:
    """End a refusal. Closing on a client that is still sending would reset its connection and lose it the answer."""
    with suppress(TimeoutError, HttpRefusal):
        async with asyncio.timeout(limits.linger_seconds):
            await _read(receive, limits.linger_bytes)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _object_of(text: bytes) -> Json:
    try:
        # A long text would hold the event loop, and with it everybody else's request.
        value = parse(text) if len(text) <= _PARSED_INLINE_MAX else await run_in_threadpool(parse, text)
    except MalformedJsonError as fault:
        raise HttpRefusal("malformed-json", f"The body is not acceptable JSON: {fault}.") from None
    if not isinstance(value, dict):
        raise InvalidRequest([FieldFault("the body", "must be a JSON object")])
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
