"""All tenants at once: which have credentials, in which states, and a search for credentials across tenants.

Promises: pages are ordered by tenant and provider, so they neither shift nor overlap while others write; a credential
is shown as in its tenant's list, including calls that this node served before the request. Masks only, never a key.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api.front.exchange import AUTHENTICATED
from api.front.operation import Operation
from api.front.paths import FLEET, UUID_PATTERN
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.credentials import view_of
from api.rest.examples import FOUND, TENANT, TENANTS
from api.rest.next_page import link_next
from api.rest.openapi import ADMIN, answer, problems
from api.rest.schemas import Absent, CredentialView, Instant, Limit, Moment, ProviderFilter, TenantFilter
from domain.access.tenants import KnownTenant
from domain.credentials.fleet import CURSOR_PATTERN, CredentialPlace, FleetFilter, TenantSummary
from domain.credentials.stored import CredentialState, CredentialStatus

router = APIRouter(route_class=Operation, prefix=FLEET, tags=["fleet"], dependencies=[AUTHENTICATED])

KeyId = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")] | Absent,
    Query(description="Only what this encryption key opens.", examples=["k0123456789"]),
]
StateFilter = Annotated[CredentialState | Absent, Query(description="Only those in this state.")]
SetBefore = Annotated[
    Instant | Absent, Query(description="Only those whose key and settings were last set before this time.")
]
UsedBefore = Annotated[
    Instant | Absent, Query(description="Only those that no counted call used at or after this time, or ever.")
]
AfterPlace = Annotated[
    Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)] | Absent,
    Query(description="Only credentials after this one: the `next` of the page before.", examples=[FOUND["next"]]),
]
AfterTenant = Annotated[
    Annotated[str, StringConstraints(pattern=UUID_PATTERN)] | Absent,
    Query(description="Only tenants after this one: the `next` of the page before.", examples=[TENANT]),
]


class FoundCredential(CredentialView):
    """One credential and whose it is."""

    tenant_id: str


class FoundCredentials(BaseModel):
    """Live credentials by tenant and provider. `next`: give it as `after` for the next page; null at the end.

    A page of a search may hold few or none although there are more.
    """

    credentials: list[FoundCredential]
    next: str | None


class TenantView(BaseModel):
    """A tenant that has a credential or had one, or that the operator registered, froze or has a policy for."""

    tenant_id: str
    name: str | None = Field(description="Null unless it is registered and its name can be read.")
    registered: bool
    frozen: bool
    credentials: int = Field(description="How many it has now.")
    states: dict[CredentialState, int] = Field(description="How many of them are in each state.")
    last_change: Moment | None = Field(description="When one was last set, replaced or deleted.")
    last_used_at: Moment | None = Field(description="When one of those it has now was last used.")


class TenantPage(BaseModel):
    """Tenants by id. `next`: give it as `after` for the next page; null at the end."""

    tenants: list[TenantView]
    next: str | None


@router.get(
    "/tenants",
    operation_id="listTenants",
    summary="List the tenants",
    responses={200: answer(TENANTS), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("limit", "after")],
)
def list_tenants(
    *, services: ServicesOf, request: Request, response: Response, after: AfterTenant = None, limit: Limit = 100
) -> TenantPage:
    """List each known tenant with its credentials by state. Follow `next`, or the Link header, for more."""
    services.usage_meter.flush()
    found = services.fleet.tenants(after, limit)
    following = found[-1].tenant_id if len(found) >= limit else None
    link_next(request, response, following)
    known = services.tenants.all_of([one.tenant_id for one in found])
    return TenantPage(tenants=[_tenant(*one) for one in zip(found, known, strict=True)], next=following)


@router.get(
    "/credentials",
    operation_id="findCredentials",
    summary="Find credentials of any tenant",
    responses={200: answer(FOUND), **problems(*ADMIN, "credential-integrity")},
    dependencies=[
        only_query("tenant_id", "provider", "key_id", "state", "set_before", "used_before", "limit", "after")
    ],
)
def find_credentials(
    *,
    services: ServicesOf,
    request: Request,
    response: Response,
    tenant_id: TenantFilter = None,
    provider: ProviderFilter = None,
    key_id: KeyId = None,
    state: StateFilter = None,
    set_before: SetBefore = None,
    used_before: UsedBefore = None,
    after: AfterPlace = None,
    limit: Limit = 100,
) -> FoundCredentials:
    """Return the live credentials that fit. Follow `next`, or the Link header, to the end: a page may be short."""
    services.usage_meter.flush()
    place = CredentialPlace.read(after) if after is not None else None
    wanted = FleetFilter(tenant_id, provider, key_id, state, set_before, used_before, place, limit)
    page = services.fleet.page(wanted)
    following = page.next.cursor() if page.next is not None else None
    link_next(request, response, following)
    return FoundCredentials(credentials=[_found(status) for status in page.found], next=following)


def _found(status: CredentialStatus) -> FoundCredential:
    return FoundCredential(tenant_id=status.credential.tenant_id, **view_of(status).model_dump())


def _tenant(summary: TenantSummary, known: KnownTenant) -> TenantView:
    states = {state: summary.states.get(state, 0) for state in CredentialState}
    return TenantView(
        tenant_id=summary.tenant_id,
        name=known.profile.name if known.profile is not None else None,
        registered=known.tenant.registered,
        frozen=known.tenant.frozen_at is not None,
        credentials=sum(states.values()),
        states=states,
        last_change=summary.last_change,
        last_used_at=summary.last_used_at,
    )
