"""Signing in with OpenID Connect, for browsers: the way to the provider and back, the session, and its end.

Promises: nothing of a sign-in is kept here but in the browser's sealed cookie, until it succeeded; what comes back from
the provider counts only in the browser that it was begun in, once, and for ten minutes. Signing out ends the session on
every node before it is answered.
"""

from datetime import datetime
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import Headers

from api.front.auth import Actor
from api.front.exchange import ExchangeOf, exchange_of
from api.front.operation import Operation
from api.front.paths import AUTH
from api.front.people import Leading, OpenedCookie
from api.front.problems import HttpError
from api.front.services import Services, ServicesOf
from api.front.session_cookies import SESSION, SIGN_IN, cookie_of, require_csrf_token, set_cookie
from api.rest.openapi import answer, problems
from domain.access.session import Session, session_ended

router = APIRouter(route_class=Operation, prefix=AUTH, tags=["sign-in"])

_EXAMPLE = {
    "actor": "https://login.example.com#248289761001",
    "name": "Ada Lovelace",
    "role": "auditor",
    "expires_at": "2026-01-31T20:00:00Z",
    "sign_out_url": "https://login.example.com/logout?client_id=keyledger",
    "csrf_token": "kq0V2yq7fJd3mE1c8bX5oA",
}
_LED = {"description": "The browser is led on.", "headers": {"Location": {"schema": {"type": "string"}}}}
_FAILURES = ("sign-in-off", "issuer-unavailable", "internal-error")


class SessionAnswer(BaseModel):
    """The session of a person."""

    actor: Annotated[str, Field(description="The name in the audit trail: issuer and subject.")]
    name: Annotated[str, Field(description="The name as the provider shows it.")]
    role: Annotated[str, Field(description="The role that a rule gives.")]
    expires_at: Annotated[datetime, Field(description="When the session ends by itself.")]
    sign_out_url: Annotated[
        str | None, Field(description="Where a browser goes after POST /auth/logout to sign out of the provider, too.")
    ]
    csrf_token: Annotated[str, Field(description="To be sent as X-CSRF-Token with every change.")]


@router.get(
    "/login",
    operation_id="signIn",
    summary="Begin to sign in",
    status_code=303,
    response_class=Response,
    responses={303: _LED, **problems(*_FAILURES)},
)
async def sign_in(request: Request, services: ServicesOf) -> Response:
    """Lead the browser to the provider. `return_to`: a path of this service to which it comes back in the end."""
    led = await services.people.begin(request.query_params.get("return_to", "/"))
    return _leading(services, led, SIGN_IN)


@router.get(
    "/callback",
    operation_id="finishSignIn",
    summary="Come back from the provider",
    status_code=303,
    response_class=Response,
    responses={303: _LED, **problems(*_FAILURES, "sign-in-failed", "outside-scope", "store-unavailable")},
)
async def finish_sign_in(request: Request, exchange: ExchangeOf, services: ServicesOf) -> Response:
    """Begin the session of a person whom the provider vouches for, with the cookie of the session."""
    cookie = cookie_of(request.headers, SIGN_IN, secure=services.people.secure)
    query = request.query_params
    if len(query.multi_items()) != len(query):
        raise HttpError("sign-in-failed", "The provider's answer has a parameter twice. Sign in again.")
    led = await services.people.finish(dict(query), cookie, exchange.meta(str(uuid4())))
    response = _leading(services, led, SESSION)
    response.headers.append("Set-Cookie", set_cookie(SIGN_IN, "", 0, secure=services.people.secure))
    return response


@router.get(
    "/session",
    operation_id="getSession",
    summary="Show the session",
    responses={200: answer(_EXAMPLE), **problems("session-ended", "store-unavailable", "internal-error")},
)
async def get_session(request: Request, services: ServicesOf) -> SessionAnswer:
    """Show whose session the browser has, and the token that changes need."""
    opened, session = await _session(services, request)
    assert session.terms.expires_at is not None  # noqa: S101  every session has an end
    return SessionAnswer(
        actor=session.name,
        name=opened.name,
        role=session.role.value,
        expires_at=session.terms.expires_at,
        sign_out_url=await services.people.sign_out_url(),
        csrf_token=opened.csrf_token,
    )


@router.post(
    "/logout",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "The session has ended on every node."},
        **problems("session-ended", "csrf-token-missing", "store-unavailable", "internal-error"),
    },
)
async def sign_out(request: Request, exchange: ExchangeOf, services: ServicesOf) -> Response:
    """End the session of the browser."""
    opened, _ = await _session(services, request)
    require_csrf_token(opened, "POST", request.headers)
    await services.people.end(opened, exchange.meta(str(uuid4())))
    return Response(None, 204, {"Set-Cookie": set_cookie(SESSION, "", 0, secure=services.people.secure)})


async def _session(services: Services, request: Request) -> tuple[OpenedCookie, Session]:
    people = services.people
    opened = people.opened(cookie_of(Headers(scope=request.scope), SESSION, secure=people.secure))
    if opened is None:
        raise session_ended("is missing, or not of this service")
    exchange = exchange_of(request.scope)
    exchange.refused_name = opened.actor
    session = people.require(opened, await people.read(opened))
    exchange.actor = Actor(session.name, session.role, external=True)
    return opened, session


def _leading(services: Services, led: Leading, name: str) -> Response:
    cookie = set_cookie(name, led.cookie, led.seconds, secure=services.people.secure)
    return Response(None, 303, {"Location": led.location, "Set-Cookie": cookie})
