"""Callers without a key of the settings: they present the token of an access key or of an issuer, or a session.

Promises: a token that the ledger does not have, or no trusted issuer signed, is a wrong key like any other. One that
may no longer be used is refused with the reason, under the name of its key or its caller.
"""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from api.front.auth import Actor
from api.front.callers import RequestAdmission
from api.front.exchange import exchange_of
from api.front.paths import is_call, is_native, lists_models, named_in, speaks_anthropic, speaks_openai
from api.front.services import Services, services_in_force
from api.front.session_cookies import SESSION, cookie_of, require_csrf_token
from api.front.standing import IdentityStanding, SessionStanding, Standing
from domain.access.scope import Surface, Wanted
from domain.access.token import digest_of, is_token
from domain.credentials.secret import Secret

JWT_MAX = 16 * 1024
"""Bytes of the longest token of an issuer that is looked at."""
_JWT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


async def present_token(services: Services, presented: set[str], scope: Scope, path: str) -> None:
    """Set actor and admission of a request that presents a token.

    Raises StoreUnavailableError, and AccessError for a token that may not be used, or not now.
    """
    if len(presented) != 1:
        return
    token = next(iter(presented)).encode("latin-1")
    if is_token(token):
        standing: Standing | None = await _of_access_key(services, token, scope)
    elif len(token) <= JWT_MAX and _JWT.fullmatch(token):
        standing = await _of_issuer(services, token, scope)
    else:
        return
    if standing is not None:
        wanted, calling = _wanted(scope, path), is_call(scope["method"], path)
        exchange_of(scope).admission = RequestAdmission(services.callers, standing, wanted, calling=calling)


async def _of_access_key(services: Services, token: bytes, scope: Scope) -> Standing | None:
    callers, exchange, digest = services.callers, exchange_of(scope), digest_of(token)
    exchange.actor = callers.known(digest)
    if exchange.actor is None:
        if (row := await callers.read(digest)) is None:
            return None
        exchange.actor = callers.actor_of(digest, row)
        callers.reader.usable(digest, row)
    return callers.standing(digest)


async def _of_issuer(services: Services, token: bytes, scope: Scope) -> Standing | None:
    if (found := await services.identities.recognise(token)) is None:
        return None
    exchange = exchange_of(scope)
    if found.identity is None:
        exchange.refused_name = found.name
        raise found.error
    exchange.actor = Actor(found.name, found.identity.role, external=True)
    return IdentityStanding(found.identity, lambda: services_in_force(scope).identities)


async def present_session(services: Services, scope: Scope, path: str, headers: Headers) -> None:
    """Set actor and admission of a request with the cookie of a session.

    Raises HttpError, AccessError, CredentialIntegrityError, StoreUnavailableError.
    """
    people, exchange = services.people, exchange_of(scope)
    cookie = cookie_of(headers, SESSION, secure=people.secure)
    if not cookie or (opened := people.opened(cookie)) is None:
        return
    exchange.take_note_of(Secret(cookie))
    exchange.refused_name = opened.actor
    standing = SessionStanding(opened, lambda: services_in_force(scope).people)
    session = standing.require(await standing.read())
    require_csrf_token(opened, scope["method"], headers)
    exchange.refused_name, exchange.actor = None, Actor(session.name, session.role, external=True)
    wanted, calling = _wanted(scope, path), is_call(scope["method"], path)
    exchange.admission = RequestAdmission(services.callers, standing, wanted, calling=calling)


def _wanted(scope: Scope, path: str) -> Wanted:
    """Return what the headers of a request name. A call names its provider, model and route later."""
    tenant, provider = named_in(scope, path)
    speaks = {Surface.NATIVE: is_native, Surface.OPENAI: speaks_openai, Surface.MESSAGES: speaks_anthropic}
    surface = next((surface for surface, its in speaks.items() if its(path)), None)
    return Wanted(
        address=exchange_of(scope).client_address,
        tenant=tenant,
        provider=provider,
        surface=surface,
        filtered=lists_models(path),
    )
