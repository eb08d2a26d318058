"""A tenant's own credentials, usage and audit, for the tenant's admins: the handlers of the operator's routes.

Promises: nothing here decides differently from the operator's routes; only the paths, and who may call them, differ. A
key for other tenants is refused before a handler runs. The audit and the usage are those of the tenant in the path, and
the addresses of the operator's people are left out.
Refuses: searches for texts, reasons and actors, which would confirm what is left out.
"""

from collections.abc import Mapping
from typing import Annotated, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.paths import OWN_TENANT, SYSADMIN
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest import credentials
from api.rest.audit.entries import Before, Order, page_of
from api.rest.audit.token_usage import (
    AfterTokens,
    KeyFilter,
    ModelFilter,
    TokenUsagePage,
    VersionFilter,
    place_of,
    token_page,
)
from api.rest.audit.usage import AfterPlace, UsagePage, usage_page
from api.rest.examples import ENTRIES, TOKENS, USAGE
from api.rest.openapi import ADMIN, answer, problems
from api.rest.proposable import Proposable
from api.rest.schemas import Absent, After, AuditPage, Limit, ProviderFilter, Since, TenantId, Until
from domain.audit.entries import Action, AuditFilter
from domain.audit.request_events import Outcome
from domain.audit.token_usage import TokenFilter
from domain.audit.usage import UsageFilter, UsagePlace

router = APIRouter(route_class=Proposable, prefix=OWN_TENANT, tags=["own tenant"], dependencies=[AUTHENTICATED])

_IDS: Mapping[str, str] = {
    "setCredential": "setOwnCredential",
    "listCredentials": "listOwnCredentials",
    "getCredential": "getOwnCredential",
    "deleteCredential": "deleteOwnCredential",
    "checkCredential": "checkOwnCredential",
    "listCredentialHistory": "listOwnCredentialHistory",
}
"""The operations of `api.rest.credentials`, and their ids here."""


def _add(route: APIRoute) -> None:
    """Serve a route of the operator under the tenant's own path, by the same handler."""
    router.add_api_route(
        route.path.removeprefix(SYSADMIN),
        route.endpoint,
        methods=sorted(route.methods or ()),
        operation_id=_IDS[str(route.operation_id)],
        summary=route.summary,
        response_model=route.response_model,
        responses=route.responses,
        dependencies=[one for one in route.dependencies if one is not AUTHENTICATED],
    )


for _route in credentials.router.routes:
    _add(cast("APIRoute", _route))


@router.get(
    "/usage",
    operation_id="listOwnUsage",
    summary="Show how the tenant's credentials are used",
    responses={200: answer(USAGE), **problems(*ADMIN)},
    dependencies=[only_query("provider", "since", "until", "limit", "after")],
)
def list_own_usage(
    *,
    tenant_id: TenantId,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    provider: ProviderFilter = None,
    since: Since = None,
    until: Until = None,
    after: AfterPlace = None,
    limit: Limit = 100,
) -> UsagePage:
    """Return the calls of the tenant by hour, oldest first. Follow `next`, or the Link header, for more."""
    place = UsagePlace.read(after) if after is not None else None
    wanted = UsageFilter(tenant_id, provider, since, until, place, limit)
    return usage_page(services, exchange, wanted, request, response)


@router.get(
    "/usage/tokens",
    operation_id="listOwnTokenUsage",
    summary="Show tokens and cost of the tenant's calls",
    responses={200: answer(TOKENS), **problems(*ADMIN)},
    dependencies=[only_query("provider", "version", "access_key", "model", "since", "until", "limit", "after")],
)
def list_own_token_usage(
    *,
    tenant_id: TenantId,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    provider: ProviderFilter = None,
    version: VersionFilter = None,
    access_key: KeyFilter = None,
    model: ModelFilter = None,
    since: Since = None,
    until: Until = None,
    after: AfterTokens = None,
    limit: Limit = 100,
) -> TokenUsagePage:
    """Return the records of the tenant, oldest hour first. Follow `next`, or the Link header, for more."""
    wanted = TokenFilter(tenant_id, provider, version, access_key, model, since, until, place_of(after), limit)
    return token_page(services, exchange, wanted, request, response)


@router.get(
    "/audit",
    operation_id="listOwnAuditEntries",
    summary="Show what happened to the tenant",
    responses={200: answer(ENTRIES), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("provider", "action", "outcome", "since", "until", "limit", "after", "before", "order")],
)
def list_own_audit_entries(
    *,
    tenant_id: TenantId,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    provider: ProviderFilter = None,
    action: Annotated[Action | Absent, Query(description="Only this action.")] = None,
    outcome: Annotated[Outcome | Absent, Query(description="Only what ended so.")] = None,
    since: Since = None,
    until: Until = None,
    after: After = 0,
    before: Before = None,
    order: Order = "oldest",
    limit: Limit = 100,
) -> AuditPage:
    """Return the entries about the tenant, also those of the operator. Follow `next`, or the Link header, for more."""
    wanted = AuditFilter(
        tenant_id,
        provider,
        since=since,
        until=until,
        after=after,
        limit=limit,
        action=action,
        outcome=outcome,
        before=before,
        newest_first=order == "newest",
    )
    return page_of(services, exchange, wanted, "entries", request, response)
