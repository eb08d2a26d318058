"""Requests that are passed on untranslated: what providers' own APIs and the relayed routes have in common.

Plain ASGI before routing, because a call through it should cost little more than the call itself. The guard has already
authenticated and authorised the request.
Promises: an answer of the provider carries the receipt in its headers; an answer without one is our own problem. Bodies
stream in both directions. A client that leaves ends the call to the provider. An answer that breaks off ends as
`answering` says.
Refuses: bodies with methods that have none, WebSocket upgrades where there is none, TRACE and CONNECT.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.front.bodies import CLOSE, Limits, refuse
from api.front.exchange import exchange_of
from api.front.metrics import Metrics
from api.front.paths import routed_path
from api.front.problems import HttpError, problem_of
from api.front.upload import Upload
from api.front.web_socket.handshake import asks_for_web_socket
from api.rest.calls.answering import Answering
from domain.calls.native import BODILESS_METHODS, NativeAnswer
from domain.errors import InvalidField, InvalidRequestError, ServiceError

A = TypeVar("A")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Untranslated(ABC):
    """ASGI middleware that serves some routes and passes everything else on."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, limits: Limits) -> None:
        self._app = app
        self.metrics = metrics
        self._limits = limits

    @abstractmethod
    def route_of(self, path: str) -> str | None:
        """Return the template of the route of a request that is served here, for logs and metrics; else None."""

    def methods_of(self, path: str) -> tuple[str, ...]:
        """Return the methods that a path which is served here has."""
        return METHODS

    def check_kind(self, scope: Scope) -> None:
        """Raise HttpError for a request of a kind that is not served here."""
        methods = self.methods_of(routed_path(scope))
        if scope["method"] not in methods:  # TRACE would send the key back
            raise HttpError("method-not-allowed", f"Use {' or '.join(methods)}.", {"Allow": ", ".join(methods)})
        if asks_for_web_socket(scope["headers"]):  # other upgrades, such as to HTTP/2, are offers that may be ignored
            raise HttpError("upgrade-refused", "There is no WebSocket here; see the routes of the provider's own API.")

    @abstractmethod
    async def call(self, scope: Scope, upload: Upload, answering: Answering) -> None:
        """Serve one request. Raises ServiceError and HttpError."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or (route := self.route_of(routed_path(scope))) is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = SimpleNamespace(path=route)
        exchange = exchange_of(scope)
        if exchange.actor is None:  # the guard was bypassed: the request is not authenticated
            raise RuntimeError("a protected endpoint was reached without authentication")
        answering, upload = Answering(send), None
        refused: ServiceError | HttpError
        try:
            self.check_kind(scope)
            upload = Upload(receive, Headers(scope=scope), self._limits)
            _check_body(scope, upload)
            await self.call(scope, upload, answering)
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

    async def serve(
        self,
        call: Awaitable[NativeAnswer],
        upload: Upload,
        answering: Answering,
        provider: Callable[[], str | None],
        method: str,
    ) -> None:
        """Make a call and pass its answer on. provider: returns the one that is called, once that is known."""
        await self.pass_on(await self.counted(call, upload, provider), upload, answering, method)

    async def counted(self, call: Awaitable[A], upload: Upload, provider: Callable[[], str | None]) -> A:
        """Make a call, and count its failure. Raises what the call raises."""
        try:
            return await call
        except ServiceError as error:
            if upload.error is None and (called := provider()) is not None:
                self.metrics.failed(called, error.code)
            raise

    async def pass_on(self, answer: NativeAnswer, upload: Upload, answering: Answering, method: str) -> None:
        """Pass an answer on, and count it."""
        self.metrics.native(answer.receipt, answer.status)
        await answering.pass_on(answer, bodiless=method == "HEAD", closing=upload.under_way)


def _check_body(scope: Scope, upload: Upload) -> None:
    if upload.under_way and scope["method"] in BODILESS_METHODS:
        rule = f"must be absent: a {scope['method']} request to a provider has none"
        raise InvalidRequestError([InvalidField("body", rule)])
