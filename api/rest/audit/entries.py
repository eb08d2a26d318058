"""The audit trail: who did what, to which credential, from where and why, and when.

Promises: pages follow the positions of the log, so they neither shift nor overlap while others write; a reader sees
every write that was acknowledged before it asked, and every request that this node refused; no entry holds a secret. A
read is recorded before its answer is sent, and appears in the next one.
"""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from api.front.exchange import AUTHENTICATED, Exchange, ExchangeOf
from api.front.operation import Operation
from api.front.paths import AUDIT
from api.front.services import Services, ServicesOf
from api.front.validation import only_query
from api.rest.audit.filters import FILTER_NAMES, FilterOf
from api.rest.examples import ENTRIES, ENTRY
from api.rest.next_page import link_next
from api.rest.openapi import ADMIN, answer, problems
from api.rest.schemas import POSITION_MAX, Absent, After, AuditEntryView, AuditPage, Limit
from domain.access.roles import Role
from domain.audit.entries import AuditEntry, AuditFilter, entry_not_found
from domain.audit.query import recorded_query
from domain.audit.request_events import Outcome
from domain.events.event import UNKNOWN

router = APIRouter(route_class=Operation, prefix=AUDIT, tags=["audit"], dependencies=[AUTHENTICATED])

_OF_THE_TENANT = frozenset({Role.TENANT_ADMIN.value, Role.RUNTIME.value})
Before = Annotated[
    Annotated[int, Query(ge=1, le=POSITION_MAX)] | Absent, Query(description="Only entries before this position.")
]
Order = Annotated[Literal["oldest", "newest"], Query(description="Which entries come first.")]


@router.get(
    "/entries",
    operation_id="listAuditEntries",
    summary="Search the audit trail",
    responses={200: answer(ENTRIES), **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query(*FILTER_NAMES, "limit", "after", "before", "order")],
)
def list_audit_entries(
    *,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    wanted: FilterOf,
    after: After = 0,
    before: Before = None,
    order: Order = "oldest",
    limit: Limit = 100,
) -> AuditPage:
    """Return the entries that fit. Follow `next`, or the Link header, for the next page."""
    page = replace(wanted, after=after, before=before, limit=limit, newest_first=order == "newest")
    return page_of(services, exchange, page, "entries", request, response)


@router.get(
    "/entries/{position}",
    operation_id="getAuditEntry",
    summary="Show an entry",
    responses={200: answer(ENTRY), **problems(*ADMIN, "audit-entry-not-found", "credential-integrity")},
    dependencies=[only_query()],
)
def get_audit_entry(
    position: Annotated[int, Path(ge=1, le=POSITION_MAX, description="Position in the log.")],
    services: ServicesOf,
    exchange: ExchangeOf,
) -> AuditEntryView:
    """Show the entry at one position of the log."""
    services.audit_recorder.flush()
    found = services.audit.page(AuditFilter(after=position - 1, before=position + 1, limit=1)).entries
    services.audit_recorder.read(exchange.meta(""), "entry", None)
    if not found:
        raise entry_not_found(position)
    return view_of(found[0])


def page_of(
    services: Services, exchange: Exchange, wanted: AuditFilter, view: str, request: Request, response: Response
) -> AuditPage:
    """Return one page and record that it was read. A page that names the next one need not be full."""
    services.audit_recorder.flush()
    entries, following = services.audit.page(wanted)
    services.audit_recorder.read(exchange.meta(""), view, recorded_query(wanted))
    link_next(request, response, following, "before" if wanted.newest_first else "after")
    return AuditPage(entries=[view_of(_shown_to(exchange, entry)) for entry in entries], next=following)


def _shown_to(exchange: Exchange, entry: AuditEntry) -> AuditEntry:
    """Return an entry as the caller may see it: a tenant's admin learns no address of the operator's people.

    Nor who was denied a request for the tenant: it may be someone of another tenant.
    """
    actor = exchange.actor
    if actor is None or actor.role is not Role.TENANT_ADMIN or entry.actor == actor.name:
        return entry
    if entry.outcome is Outcome.DENIED:
        return replace(entry, client_address=None, actor=UNKNOWN)
    return entry if entry.role in _OF_THE_TENANT else replace(entry, client_address=None)


def view_of(entry: AuditEntry) -> AuditEntryView:
    """Return the entry as it is shown."""
    return AuditEntryView(
        position=entry.position,
        timestamp=entry.timestamp,
        action=entry.action,
        outcome=entry.outcome,
        tenant_id=entry.tenant_id,
        provider=entry.provider,
        version=entry.version,
        actor=entry.actor,
        role=entry.role,
        source=entry.source,
        client_address=entry.client_address,
        reason=entry.reason,
        request_id=entry.request_id,
        command_id=entry.command_id,
        causation_id=entry.causation_id,
        node_time=entry.node_time,
        masked_key=entry.masked_key,
        key_id=entry.key_id,
        fingerprint=entry.fingerprint,
        details=dict(entry.details),
        erased=list(entry.erased),
    )
