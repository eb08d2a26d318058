"""Use of credentials: calls counted by tenant, provider, version and hour.

Promises: what this node served before the request is counted in the answer; pages neither shift nor overlap, because a
record never changes place; a read is recorded in the audit trail before its answer is sent.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api.front.exchange import AUTHENTICATED, Exchange, ExchangeOf
from api.front.operation import Operation
from api.front.paths import AUDIT
from api.front.services import Services, ServicesOf
from api.front.validation import only_query
from api.rest.examples import USAGE
from api.rest.next_page import link_next
from api.rest.openapi import ADMIN, answer, problems
from api.rest.schemas import Absent, Limit, Moment, ProviderFilter, Since, TenantFilter, Until
from domain.audit.entries import AuditFilter
from domain.audit.query import format_query
from domain.audit.token_usage import TokenFilter
from domain.audit.usage import CURSOR_PATTERN, UsageFilter, UsagePlace, UsageRecord

router = APIRouter(route_class=Operation, prefix=AUDIT, tags=["audit"], dependencies=[AUTHENTICATED])

AfterPlace = Annotated[
    Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)] | Absent,
    Query(description="Only records after this one: the `next` of the page before.", examples=[USAGE["next"]]),
]


class UsageView(BaseModel):
    """How often a version of a credential served within an hour."""

    hour: Moment = Field(description="Its first moment.")
    tenant_id: str
    provider: str
    version: int = Field(description="Of the credential that was used; 0 for the global key.")
    calls: int = Field(description="Requests that were sent with it, or that tried to.")
    failures: int = Field(description="Those of them that got no right answer, whatever the provider's reason.")
    last_used_at: Moment


class UsagePage(BaseModel):
    """Records, oldest hour first. `next`: give it as `after` for the next page; null at the end."""

    usage: list[UsageView]
    next: str | None


@router.get(
    "/usage",
    operation_id="listUsage",
    summary="Show who used a credential",
    responses={200: answer(USAGE), **problems(*ADMIN)},
    dependencies=[only_query("tenant_id", "provider", "since", "until", "limit", "after")],
)
def list_usage(
    *,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    tenant_id: TenantFilter = None,
    provider: ProviderFilter = None,
    since: Since = None,
    until: Until = None,
    after: AfterPlace = None,
    limit: Limit = 100,
) -> UsagePage:
    """Return the records that fit, oldest hour first. Follow `next`, or the Link header, for more.

    An hour is in the answer when its first moment is at or after `since` and before `until`.
    """
    place = UsagePlace.read(after) if after is not None else None
    wanted = UsageFilter(tenant_id, provider, since, until, place, limit)
    return usage_page(services, exchange, wanted, request, response)


def usage_page(
    services: Services, exchange: Exchange, wanted: UsageFilter, request: Request, response: Response
) -> UsagePage:
    """Return one page and record that it was read."""
    record_reading(services, exchange, wanted)
    found = services.usage.page(wanted)
    following = found[-1].place.cursor() if len(found) >= wanted.limit else None
    link_next(request, response, following)
    return UsagePage(usage=[_view(record) for record in found], next=following)


def record_reading(services: Services, exchange: Exchange, wanted: UsageFilter | TokenFilter) -> None:
    """Record that usage is read, and have what this node counted so far included in it."""
    asked = AuditFilter(wanted.tenant_id, wanted.provider, since=wanted.since, until=wanted.until)
    services.audit_recorder.read(exchange.meta(""), "usage", format_query(asked))
    services.usage_meter.flush()


def _view(record: UsageRecord) -> UsageView:
    return UsageView(
        **record.place._asdict(), calls=record.calls, failures=record.failures, last_used_at=record.last_used_at
    )
