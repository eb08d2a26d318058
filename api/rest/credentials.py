"""Credentials of a tenant: set, list, show, delete, and their history.

Promises: a 200 to PUT or DELETE means the change is stored and every node obeys it; answers show a mask,
never a key. Handlers that block are plain functions and run in threads.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.paths import SYSADMIN
from api.front.services import Services, ServicesOf
from api.front.stored_key_in_id import take_recorded_id
from api.front.validation import no_body, only_query
from api.rest.audit.entries import page_of
from api.rest.examples import CHECK, CREDENTIAL, CREDENTIALS, DELETED, ENTRIES, SET
from api.rest.openapi import ADMIN, BODY, CHECKED, COMMAND, ETAG, answer, problems
from api.rest.preconditions import TAGS, CommandMetaOf, PreconditionOf, entity_tag, matches_tag
from api.rest.proposable import HELD, Proposable
from api.rest.schemas import (
    Absent,
    After,
    AsOf,
    AuditPage,
    CredentialBody,
    CredentialCheckAnswer,
    CredentialDeletedAnswer,
    CredentialList,
    CredentialSetAnswer,
    CredentialView,
    Limit,
    ProviderName,
    SettingName,
    TenantId,
)
from domain.access.roles import Role
from domain.audit.entries import AuditFilter
from domain.credentials.commands import DeleteCredential, SetCredential
from domain.credentials.credential import Credential
from domain.credentials.providers import NAME_PATTERN, CredentialConfig, check
from domain.credentials.stored import CredentialStatus
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFoundError,
    ErrorCode,
    InvalidField,
    InvalidRequestError,
    UnresolvableError,
)

router = APIRouter(
    route_class=Proposable,
    prefix=f"{SYSADMIN}/credentials",
    tags=["credentials"],
    dependencies=[AUTHENTICATED],
)

_NAME = re.compile(NAME_PATTERN)
_CLOCKS_DIFFER = timedelta(minutes=1)
"""How far a caller's clock may be ahead of this one."""


@router.put(
    "/{provider}",
    operation_id="setCredential",
    summary="Set or replace a credential",
    responses={200: answer(SET, ETAG), **problems(*ADMIN, *BODY, *COMMAND, "invalid-credential", *CHECKED)},
    dependencies=[only_query()],
)
async def set_credential(
    *,
    tenant_id: TenantId,
    provider: ProviderName,
    body: CredentialBody,
    exchange: ExchangeOf,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> CredentialSetAnswer:
    """Store the key and settings in place of whatever was there. Setting what is already set changes nothing."""
    known = services.providers.named(provider)
    config = CredentialConfig(body.endpoint, body.api_version, body.deployment_name)
    checked = check(known, body.api_key.get_secret_value(), config, services.endpoint_rules)
    command = SetCredential(
        tenant_id, known.name, checked.secret, checked.config, meta, precondition, known.endpoint_form
    )
    state = await _stored(services, command)
    take_recorded_id(exchange, state.request_id)
    assert state.masked_key is not None and state.set_at is not None  # noqa: S101  a set credential has both
    response.headers["ETag"] = entity_tag(state.version)
    return CredentialSetAnswer(
        tenant_id=tenant_id,
        provider=known.name,
        masked_key=state.masked_key,
        message=f"API credential for {known.name} set successfully",
        set_at=state.set_at,
        version=state.version,
        warnings=list(checked.warnings),
    )


@router.get(
    "",
    operation_id="listCredentials",
    summary="List the credentials of a tenant",
    responses={200: answer(CREDENTIALS), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("as_of")],
)
async def list_credentials(tenant_id: TenantId, services: ServicesOf, as_of: AsOf = None) -> CredentialList:
    """List every live credential; an empty list for a tenant without any.

    With `as_of` the list shows what was in effect then; `state` and `last_used_at` are as of then, but may miss calls
    of that very hour; `encryption_status` still says what can be opened now.
    """
    if as_of is not None and as_of > services.clock() + _CLOCKS_DIFFER:
        raise InvalidRequestError([InvalidField("as_of", "must not be in the future")])
    await _store_recent_use(services)
    if as_of is None:
        found: Sequence[CredentialStatus] = services.credentials.statuses(await services.listing.of_tenant(tenant_id))
    else:
        found = await run_in_threadpool(services.past.of_tenant, tenant_id, as_of)
    return CredentialList(credentials=[view_of(status) for status in found])


@router.get(
    "/{provider}",
    operation_id="getCredential",
    summary="Show a credential",
    response_model=CredentialView,
    responses={
        200: answer(CREDENTIAL, ETAG),
        304: {"description": "Unchanged."},
        **problems(*ADMIN, "malformed-header", "unknown-provider", "credential-not-found", "credential-integrity"),
    },
    dependencies=[only_query()],
)
def get_credential(
    *,
    tenant_id: TenantId,
    provider: ProviderName,
    services: ServicesOf,
    request: Request,
    response: Response,
    if_none_match: Annotated[
        str | Absent, Header(alias="If-None-Match", description="304 when it is at this version."), TAGS
    ] = None,
) -> CredentialView | Response:
    """Show one credential with its version as ETag. `state` may change without it."""
    name = _known_once(services, tenant_id, provider)
    services.usage_meter.flush()  # so that the latest calls of this node are shown
    status = services.credentials.get(tenant_id, name)
    tag = entity_tag(status.credential.version)
    if matches_tag(request, status.credential.version):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return view_of(status)


@router.delete(
    "/{provider}",
    operation_id="deleteCredential",
    summary="Delete a credential",
    responses={200: answer(DELETED, ETAG), **HELD, **problems(*ADMIN, *COMMAND, "credential-not-found")},
    dependencies=[only_query()],
)
async def delete_credential(
    *,
    tenant_id: TenantId,
    provider: ProviderName,
    exchange: ExchangeOf,
    meta: CommandMetaOf,
    precondition: PreconditionOf,
    services: ServicesOf,
    response: Response,
) -> CredentialDeletedAnswer:
    """Take a credential out of use. Once this is answered no node uses it. Operators can delete while it is frozen."""
    known = provider in services.providers
    name = provider if known else await run_in_threadpool(_known_once, services, tenant_id, provider)
    by_operator = meta.role == Role.SYSADMIN
    state = await services.carry_out(DeleteCredential(tenant_id, name, meta, precondition, by_operator=by_operator))
    take_recorded_id(exchange, state.request_id)
    response.headers["ETag"] = entity_tag(state.version)
    message = f"API credential for {name} deleted successfully"
    return CredentialDeletedAnswer(tenant_id=tenant_id, provider=name, message=message)


@router.post(
    "/{provider}/check",
    operation_id="checkCredential",
    summary="Ask the provider whether it accepts the key",
    responses={
        200: answer(CHECK),
        **problems(*ADMIN, *BODY, *COMMAND, *CHECKED, "credential-not-found", "credential-unreadable"),
    },
    dependencies=[only_query(), Depends(no_body)],
)
async def check_credential(tenant_id: TenantId, provider: ProviderName, services: ServicesOf) -> CredentialCheckAnswer:
    """Send the provider one request that generates nothing. It counts as a call, and for `state`."""
    name = services.providers.named(provider).name
    verdict = await services.key_checks.check_stored(tenant_id, name)
    return CredentialCheckAnswer(tenant_id=tenant_id, provider=name, version=verdict.version, accepted=verdict.accepted)


@router.get(
    "/{provider}/history",
    operation_id="listCredentialHistory",
    summary="Show what happened to a credential",
    responses={200: answer(ENTRIES), **problems(*ADMIN, "unknown-provider")},
    dependencies=[only_query("after", "limit")],
)
def list_credential_history(
    *,
    tenant_id: TenantId,
    provider: ProviderName,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    after: After = 0,
    limit: Limit = 100,
) -> AuditPage:
    """Show who set, replaced and deleted the credential, oldest first; also after it is gone."""
    name = _known_once(services, tenant_id, provider)
    wanted = AuditFilter(tenant_id, name, after=after, limit=limit, of_credential=True)
    return page_of(services, exchange, wanted, "history", request, response)


async def _stored(services: Services, command: SetCredential) -> Credential:
    """Store a credential; where the tenant's policy wants that, only once its provider accepted the key."""
    try:
        return await services.carry_out(command)
    except UnresolvableError as refused:
        if refused.code != ErrorCode.KEY_NOT_CHECKED:
            raise
    await services.key_checks.require_accepted(command.tenant_id, command.provider, command.secret, command.config)
    return await services.carry_out(replace(command, accepted=True))


async def _store_recent_use(services: Services) -> None:
    """Store the latest calls and rejections seen by this node, so that the next read shows them."""
    if services.usage_meter.waits():
        await run_in_threadpool(services.usage_meter.flush)


def _known_once(services: Services, tenant_id: str, provider: str) -> str:
    """Return the name of a provider that is known, or was when it got the tenant's credential. Raises NotFoundError.

    A removed provider may return with the next reload, so its credentials can still be shown and deleted.
    """
    if provider in services.providers or not _NAME.fullmatch(provider):
        return services.providers.named(provider).name
    try:
        services.credentials.get(tenant_id, provider)
    except CredentialNotFoundError:
        return services.providers.named(provider).name
    except CredentialIntegrityError:  # it exists
        pass
    return provider


def view_of(status: CredentialStatus) -> CredentialView:
    """Return a live credential as it is shown."""
    credential = status.credential
    sealed, masked, set_at = credential.sealed, credential.masked_key, credential.set_at
    assert sealed is not None and masked is not None and set_at is not None  # noqa: S101  only live ones are shown
    return CredentialView(
        provider=credential.provider,
        masked_key=masked,
        encryption_status="encrypted" if status.readable else "unreadable",
        state=status.state,
        configured_at=set_at,
        config=_settings(credential.config),
        version=credential.version,
        key_id=sealed.key_id,
        last_used_at=status.last_used_at,
    )


def _settings(config: CredentialConfig) -> dict[SettingName, str]:
    names: tuple[SettingName, ...] = ("endpoint", "api_version", "deployment_name")
    return {name: value for name in names if (value := getattr(config, name)) is not None}
