"""Providers' own APIs, called with the tenant's key: requests and answers pass through unchanged.

Plain ASGI before routing, because a call through it should cost little more than the call itself. The guard has already
authenticated and authorised the request.
Promises: an answer of the provider carries the receipt in its headers; an answer without one is our own problem. Bodies
stream in both directions. A client that leaves ends the call to the provider. An answer that breaks off stays
incomplete, so that no client mistakes it for a complete one.
Refuses: paths that leave the provider's base path, bodies with methods that have none, WebSocket upgrades, TRACE and
CONNECT.
"""

import re
from dataclasses import replace
from types import SimpleNamespace

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.front.bodies import CLOSE, Limits, refuse
from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import exchange_of
from api.front.metrics import Metrics
from api.front.paths import NATIVE, UUID_PATTERN, is_native, raw_path, routed_path
from api.front.problems import HttpError, problem_of
from api.front.services import services_in_force
from api.front.upload import Upload
from api.front.validation import RULES
from api.rest.calls.receipts import receipt_headers
from domain.access.scope import Surface, Wanted
from domain.calls.native import BODILESS_METHODS, NativeAnswer, NativeApis, NativeCall
from domain.calls.native_path import normalised_path
from domain.errors import InvalidField, InvalidRequestError, ServiceError

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_ROUTE = SimpleNamespace(path=NATIVE)
_ADDRESS = re.compile(r"/api/v1/tenants/([^/]+)/providers/([^/]+)(?:/(.*))?", re.DOTALL)
_TENANT = re.compile(UUID_PATTERN)
_NOTHING_HERE = (
    "There is nothing at this address. Put the path of the provider's API after the provider's name, such as "
    ".../providers/openai/v1/models."
)


class Native:
    """ASGI middleware that serves providers' own APIs and passes everything else on."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, limits: Limits) -> None:
        self._app = app
        self._metrics = metrics
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not is_native(routed_path(scope)):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # what the log and the metrics name
        exchange = exchange_of(scope)
        if exchange.actor is None:  # the guard was bypassed: the request is not authenticated
            raise RuntimeError("a protected endpoint was reached without authentication")
        answering, upload = _Answering(send), None
        refused: ServiceError | HttpError
        try:
            _check_kind(scope)
            upload = Upload(receive, Headers(scope=scope), self._limits)
            _check_body(scope, upload)
            await self._call(scope, upload, answering)
            return
        except (ServiceError, HttpError) as error:
            refused = upload.error or error if upload is not None else error
            refused.__traceback__ = None  # its frames hold the body, and would until the next collection of garbage
        exchange.refused = refused.code
        if not answering.begun:
            problem = problem_of(refused)
            if upload is None or upload.under_way:
                problem = replace(problem, headers={**problem.headers, **CLOSE})
            await refuse(problem, scope, receive, send, self._limits)

    async def _call(self, scope: Scope, upload: Upload, answering: "_Answering") -> None:
        tenant_id, provider, path = _target(raw_path(scope))
        services = services_in_force(scope)
        services.providers.named(provider)  # before anything is counted for it
        admission = exchange_of(scope).admission
        if admission is not None:
            method = scope["method"]
            admission.asks(
                Wanted(tenant=tenant_id, provider=provider, surface=Surface.NATIVE, method=method, path=path)
            )
        held = held_of(scope)
        held.begin_call(tenant_id, provider)
        query = bytes(scope["query_string"]).decode("latin-1")
        body = await upload.open(held.take_bytes)
        call = NativeCall(
            tenant_id, provider, scope["method"], path, query, scope["headers"], body, upload.length, admission
        )
        await until_client_leaves(upload.after_end, self._serve(services.native, call, upload, answering))

    async def _serve(self, apis: NativeApis, call: NativeCall, upload: Upload, answering: "_Answering") -> None:
        try:
            answer = await apis.call(call)
        except ServiceError as error:
            if upload.error is None:
                self._metrics.failed(call.provider, error.code)
            raise
        self._metrics.native(answer.receipt, answer.status)
        await answering.pass_on(answer, bodiless=call.method == "HEAD", closing=upload.under_way)


class _Answering:
    """One answer on its way to the client."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def pass_on(self, answer: NativeAnswer, *, bodiless: bool, closing: bool) -> None:
        """Send an answer. bodiless: to HEAD. closing: the request's body was not read, so the connection has to end."""
        headers = [*answer.headers]
        headers += [(name.lower().encode(), text.encode()) for name, text in receipt_headers(answer.receipt).items()]
        if closing:
            headers.append((b"connection", b"close"))
        if answer.pieces is None:
            whole = answer.whole or b""
            if not bodiless and answer.status not in {204, 304}:
                headers.append((b"content-length", b"%d" % len(whole)))
            await self._start(answer.status, headers)
            await self._send({"type": "http.response.body", "body": whole})
            return
        try:
            headers.append((b"x-accel-buffering", b"no"))  # buffering by a proxy would defeat streaming
            await self._start(answer.status, headers)
            while (piece := await answer.pieces.next()) is not None:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            answer.pieces.drop()

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _check_kind(scope: Scope) -> None:
    if scope["method"] not in METHODS:  # TRACE would send the key back
        raise HttpError("method-not-allowed", f"Use {' or '.join(METHODS)}.", {"Allow": ", ".join(METHODS)})
    for name, value in scope["headers"]:
        # Other upgrades, such as to HTTP/2, are offers that may be ignored.
        if name == b"upgrade" and b"websocket" in value.lower():
            raise HttpError("upgrade-refused", "WebSocket connections are not supported; use the provider's HTTP API.")


def _check_body(scope: Scope, upload: Upload) -> None:
    if upload.under_way and scope["method"] in BODILESS_METHODS:
        rule = f"must be absent: a {scope['method']} request to a provider has none"
        raise InvalidRequestError([InvalidField("body", rule)])


def _target(raw: str) -> tuple[str, str, str]:
    """Return tenant, provider and normalised path. Raises HttpError, InvalidRequestError."""
    address = _ADDRESS.fullmatch(raw)
    if address is None:
        raise HttpError("not-found", _NOTHING_HERE)
    tenant_id, provider, path = address.groups()
    if not _TENANT.fullmatch(tenant_id):
        raise InvalidRequestError([InvalidField("tenant_id", RULES["tenant_id"])])
    if not path:
        raise HttpError("not-found", _NOTHING_HERE)
    return tenant_id, provider, normalised_path(path)
