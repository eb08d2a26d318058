"""Access keys for administrators: create, list, show, change, rotate, revoke.

Promises: a 2xx means that the change is stored and every node obeys it. A token is in the answer that made it, once.
A key can be revoked by its token, without knowing its name.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import StringConstraints
from starlette.concurrency import run_in_threadpool

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.paths import ACCESS_KEYS
from api.front.services import Services, ServicesOf
from api.front.validation import only_query
from api.rest.access_key_shapes import (
    HOURS_EXAMPLE,
    ISSUED_EXAMPLE,
    KEY_EXAMPLE,
    LIST_EXAMPLE,
    AccessKeyBody,
    AccessKeyChange,
    AccessKeyHour,
    AccessKeyHours,
    AccessKeyPage,
    AccessKeyState,
    AccessKeyView,
    EnvironmentKey,
    IssuedAccessKey,
    KeyName,
    LeakedToken,
    RotationBody,
    issued_view_of,
    view_of,
)
from api.rest.next_page import link_next
from api.rest.openapi import ACCESS_KEY, ADMIN, BODY, ETAG, answer, problems
from api.rest.preconditions import CommandMetaOf, PreconditionOf, entity_tag
from api.rest.proposable import HELD, Proposable
from api.rest.schemas import Absent, Instant, Limit, Since, Until
from domain.access.access_key import AccessKey, AccessTerms
from domain.access.key_usage import KeyHours
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS
from domain.access.scope_rules import limits_of, scope_of
from domain.access.service import NAME_PATTERN
from domain.audit.usage import HOUR
from domain.credentials.commands import Precondition
from domain.credentials.secret import Secret

router = APIRouter(route_class=Proposable, prefix=ACCESS_KEYS, tags=["access keys"], dependencies=[AUTHENTICATED])

_UnusedSince = Annotated[
    Instant | Absent, Query(description="Only active keys that were neither used nor changed at or after this time.")
]
_After = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")] | Absent,
    Query(description="Only keys after this one: the `next` of the page before.", examples=["billing-app"]),
]


@router.post(
    "",
    operation_id="createAccessKey",
    summary="Create an access key",
    status_code=201,
    responses={201: answer(ISSUED_EXAMPLE, ETAG), **HELD, **problems(*ADMIN, *BODY, *ACCESS_KEY, "access-key-exists")},
    dependencies=[only_query()],
)
async def create_access_key(
    body: AccessKeyBody, meta: CommandMetaOf, services: ServicesOf, response: Response
) -> IssuedAccessKey:
    """Create a key. Its token is in this answer and nowhere else."""
    terms = _terms(services, body.role, body, body.expires_at)
    issued = await services.carry_out_alone(lambda: services.access_keys.create(body.name, body.role, terms, meta))
    response.headers["Location"] = f"{ACCESS_KEYS}/{issued.key.name}"
    return issued_view_of(issued, _tagged(services, issued.key, response))


@router.post(
    "/by-token/revoke",
    operation_id="revokeLeakedToken",
    summary="Revoke the key of a token",
    responses={200: answer(KEY_EXAMPLE, ETAG), **problems(*ADMIN, *BODY, *ACCESS_KEY, "access-key-not-found")},
    dependencies=[only_query()],
)
async def revoke_leaked_token(
    body: LeakedToken, exchange: ExchangeOf, meta: CommandMetaOf, services: ServicesOf, response: Response
) -> AccessKeyView:
    """Revoke the key whose token this is, or was before its last rotation."""
    keys, token = services.access_keys, Secret(body.token.get_secret_value())
    exchange.take_note_of(token)
    issued = await services.carry_out_alone(lambda: keys.revoke(keys.name_of(token), meta, Precondition()))
    return view_of(issued.key, _tagged(services, issued.key, response))


@router.get(
    "",
    operation_id="listAccessKeys",
    summary="List the access keys",
    responses={200: answer(LIST_EXAMPLE), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("unused_since", "limit", "after")],
)
async def list_access_keys(
    *,
    services: ServicesOf,
    request: Request,
    response: Response,
    unused_since: _UnusedSince = None,
    after: _After = None,
    limit: Limit = 100,
) -> AccessKeyPage:
    """List all keys by name, revoked ones too, and those that come from the settings.

    With `unused_since` a page may be short, even empty, before the end.
    """
    found = await run_in_threadpool(services.access_keys.page, after or "", limit)
    used = await run_in_threadpool(services.key_usage.last_used, [key.name for key in found])
    following = found[-1].name if len(found) == limit else None
    link_next(request, response, following)
    return AccessKeyPage(
        access_keys=[
            view_of(key, _state(services, key), used.get(key.name))
            for key in found
            if unused_since is None or _is_unused(services, key, used.get(key.name), unused_since)
        ],
        next=following,
        environment=[EnvironmentKey(name=one.name, role=one.role) for one in services.authenticator.actors],
    )


@router.get(
    "/{access_key}",
    operation_id="getAccessKey",
    summary="Show an access key",
    responses={
        200: answer(KEY_EXAMPLE, ETAG),
        **problems(*ADMIN, "access-key-not-found", "credential-integrity"),
    },
    dependencies=[only_query()],
)
async def get_access_key(access_key: KeyName, services: ServicesOf, response: Response) -> AccessKeyView:
    """Show a key that is not revoked, with its version as ETag."""
    key = await run_in_threadpool(services.access_keys.named, access_key)
    used = await run_in_threadpool(services.key_usage.last_used, [key.name])
    return view_of(key, _tagged(services, key, response), used.get(key.name))


@router.get(
    "/{access_key}/usage",
    operation_id="listAccessKeyUsage",
    summary="Show when an access key was used",
    responses={200: answer(HOURS_EXAMPLE), **problems(*ADMIN, "access-key-not-found", "credential-integrity")},
    dependencies=[only_query("since", "until", "limit")],
)
async def list_access_key_usage(
    *,
    access_key: KeyName,
    services: ServicesOf,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
) -> AccessKeyHours:
    """Count the admitted requests of a key by hour, oldest first."""
    key = await run_in_threadpool(services.access_keys.named, access_key)
    found = await run_in_threadpool(services.key_usage.hours, KeyHours(key.name, since, until, limit))
    hours = [AccessKeyHour(hour=one.hour, requests=one.requests, last_used_at=one.last_used_at) for one in found]
    return AccessKeyHours(usage=hours, next=found[-1].hour + HOUR if len(found) == limit else None)


@router.patch(
    "/{access_key}",
    operation_id="changeAccessKey",
    summary="Change scope, limits or expiry",
    responses={200: answer(KEY_EXAMPLE, ETAG), **HELD, **problems(*ADMIN, *BODY, *ACCESS_KEY, "access-key-not-found")},
    dependencies=[only_query()],
)
async def change_access_key(
    *,
    access_key: KeyName,
    body: AccessKeyChange,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> AccessKeyView:
    """Change the members that are sent. Name and role never change: that is another key."""
    keys = services.access_keys
    key = await run_in_threadpool(keys.named, access_key)
    terms = _changed(services, key, body)
    # What is not sent stays as it was read, so the change holds for that version only.
    seen = precondition if precondition != Precondition() else Precondition(versions=frozenset({key.version}))
    issued = await services.carry_out_alone(lambda: keys.change(key.name, terms, meta, seen))
    return view_of(issued.key, _tagged(services, issued.key, response))


@router.post(
    "/{access_key}/rotate",
    operation_id="rotateAccessKey",
    summary="Give a key another token",
    responses={
        200: answer(ISSUED_EXAMPLE, ETAG),
        **HELD,
        **problems(*ADMIN, *BODY, *ACCESS_KEY, "access-key-not-found"),
    },
    dependencies=[only_query()],
)
async def rotate_access_key(
    *,
    access_key: KeyName,
    body: RotationBody,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> IssuedAccessKey:
    """Make another token. The present one works until `old_token_until`, at most 30 days, or no longer."""
    keys, until = services.access_keys, body.old_token_until
    issued = await services.carry_out_alone(lambda: keys.rotate(access_key, until, meta, precondition))
    return issued_view_of(issued, _tagged(services, issued.key, response))


@router.delete(
    "/{access_key}",
    operation_id="revokeAccessKey",
    summary="Revoke an access key",
    responses={200: answer(KEY_EXAMPLE, ETAG), **problems(*ADMIN, *ACCESS_KEY, "access-key-not-found")},
    dependencies=[only_query()],
)
async def revoke_access_key(
    access_key: KeyName, meta: CommandMetaOf, precondition: PreconditionOf, services: ServicesOf, response: Response
) -> AccessKeyView:
    """Revoke a key. Once this is answered, no node admits a request with it."""
    issued = await services.carry_out_alone(lambda: services.access_keys.revoke(access_key, meta, precondition))
    return view_of(issued.key, _tagged(services, issued.key, response))


def _terms(services: Services, role: Role, body: AccessKeyChange, expires_at: datetime | None) -> AccessTerms:
    scope = scope_of(role, {name: getattr(body, name) for name in DIMENSIONS}, services.providers)
    asked = (body.requests_per_minute, body.concurrent_calls, body.tokens_per_day, body.spend_per_month)
    limits = limits_of(*asked, role, scope)
    return AccessTerms(scope, limits, expires_at)


def _changed(services: Services, key: AccessKey, body: AccessKeyChange) -> AccessTerms:
    """Return the terms of a key with the members that were sent. Raises InvalidRequestError."""
    before = view_of(key, AccessKeyState.ACTIVE)
    sent = body.model_fields_set
    whole = AccessKeyChange.model_construct(
        **{name: getattr(body if name in sent else before, name) for name in AccessKeyChange.model_fields}
    )
    return _terms(services, key.role, whole, whole.expires_at)


def _tagged(services: Services, key: AccessKey, response: Response) -> AccessKeyState:
    response.headers["ETag"] = entity_tag(key.version)
    return _state(services, key)


def _state(services: Services, key: AccessKey) -> AccessKeyState:
    if key.revoked:
        return AccessKeyState.REVOKED
    return AccessKeyState.EXPIRED if key.is_expired(services.clock()) else AccessKeyState.ACTIVE


def _is_unused(services: Services, key: AccessKey, used: datetime | None, since: datetime) -> bool:
    """Whether a key may be used, and was neither used nor changed since."""
    active = _state(services, key) is AccessKeyState.ACTIVE
    return active and key.changed_at < since and (used is None or used < since)
