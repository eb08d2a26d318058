"""Counts each authenticated request for its service key, and refuses those for which there is no room.

Promises: what a request takes is given back when its answer has ended, or its client has left, or anything was raised.
A sysadmin's requests are not limited, unless they are calls to models; those of other administrators are not refused
for what callers hold. A refused request is answered 429, or 503 where
the provider is what is busy, with `Retry-After`.
"""

from typing import cast

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.front.auth import Actor
from api.front.bodies import CLOSE, Limits, announces_body, refuse
from api.front.bounds.chosen import Bounds
from api.front.bounds.connections import place_of
from api.front.bounds.shares import Held, Shares
from api.front.exchange import exchange_of
from api.front.paths import calls_models, is_guarded, routed_path
from api.front.problems import HttpError, problem_of
from api.front.services import services_in_force
from domain.access.roles import Role
from domain.request_context import SERVICE_KEY

_HELD = "keyledger.held"


class BoundedUse:
    """ASGI middleware behind the guard."""

    def __init__(self, app: ASGIApp, *, shares: Shares, limits: Limits) -> None:
        self._app = app
        self._shares = shares
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http" or not is_guarded(path := routed_path(scope)):
            await self._app(scope, receive, send)
            return
        actor = exchange_of(scope).actor
        if actor is None:  # the guard was bypassed: the request is not authenticated
            raise RuntimeError("a protected endpoint was reached without authentication")
        calling = calls_models(path)
        try:
            held = self._admit(scope, actor, services_in_force(scope).bounds, calling=calling)
        except HttpError as refused:
            if announces_body(Headers(scope=scope)):
                refused.headers |= CLOSE
            await refuse(problem_of(refused), scope, receive, send, self._limits)
            return
        scope[_HELD] = held
        SERVICE_KEY.set(actor.name)
        try:
            await self._app(scope, receive, send)
        finally:
            held.release()

    def _admit(self, scope: Scope, actor: Actor, bounds: Bounds, *, calling: bool) -> Held:
        """Return what the request holds so far. Raises HttpError."""
        spared = actor.role is Role.SYSADMIN and not calling
        place = place_of(scope)
        if place is not None and not place.prove(actor.name, calling=calling, spared=spared):
            detail = (
                "This service key, or all keys together, have requests under way on as many connections as they may "
                "(KEY_SHARE, CALL_SHARE, MAX_CONNECTIONS). Wait for one."
            )
            raise HttpError("limit-reached", detail, {"Retry-After": "1", **CLOSE})
        return Held(self._shares, actor.name, bounds) if spared else self._shares.hold(actor.name, bounds)


def held_of(scope: Scope) -> Held:
    """Return what the request of `scope` holds."""
    return cast(Held, scope[_HELD])
