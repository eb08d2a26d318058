"""The audit trail: who did what to which credential, and when.

Promises: pages follow the positions of the log, so they neither shift nor overlap while others write; a reader sees
every write that was acknowledged before it asked; no entry holds a secret.
"""

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from api.examples import ENTRIES
from api.exchange import AUTHENTICATED
from api.openapi import ADMIN, answer, problems
from api.paths import AUDIT
from api.schemas import (
    ActorFilter,
    After,
    AuditEntryView,
    AuditPage,
    Limit,
    ProviderFilter,
    Since,
    TenantFilter,
    Until,
)
from api.services import ServicesOf
from api.validation import only_query
from domain.audit import AuditEntry, AuditFilter
from domain.ports import AuditTrail

router = APIRouter(prefix=AUDIT, tags=["audit"], dependencies=[AUTHENTICATED])


@router.get(
    "/entries",
    operation_id="listAuditEntries",
    summary="Search the audit trail",
    responses={200: answer(ENTRIES), **problems(*ADMIN)},
    dependencies=[only_query("tenant_id", "provider", "actor", "since", "until", "limit", "after")],
)
def list_audit_entries(
    *,
    services: ServicesOf,
    request: Request,
    response: Response,
    tenant_id: TenantFilter = None,
    provider: ProviderFilter = None,
    actor: ActorFilter = None,
    since: Since = None,
    until: Until = None,
    after: After = 0,
    limit: Limit = 100,
) -> AuditPage:
    """Return the entries that fit, oldest first. Follow `next`, or the Link header, for more."""
    wanted = AuditFilter(tenant_id, provider, actor, since, until, after, limit)
    return page_of(services.audit, wanted, request, response)


def page_of(trail: AuditTrail, wanted: AuditFilter, request: Request, response: Response) -> AuditPage:
    """Return one page. A full page names the next one, which may turn out to be empty."""
    entries = trail.entries(wanted)
    following = entries[-1].position if len(entries) >= wanted.limit else None
    if following is not None:
        # Only parameters of ours get this far, each with a checked value.
        query = {**request.query_params, "after": str(following)}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return AuditPage(entries=[_view(entry) for entry in entries], next=following)


def _view(entry: AuditEntry) -> AuditEntryView:
    return AuditEntryView(
        position=entry.position,
        timestamp=entry.timestamp,
        action=entry.action,
        tenant_id=entry.tenant_id,
        provider=entry.provider,
        version=entry.version,
        actor=entry.actor,
        request_id=entry.request_id,
        command_id=entry.command_id,
        masked_key=entry.masked_key,
        key_id=entry.key_id,
        details=dict(entry.details),
    )
