"""The audit trail as a file: every entry that fits a filter, streamed, in one of the formats of `audit_exports`.

Promises: the export is recorded before its first byte, or refused; HEAD exports and records nothing. Entries are in
order and complete up to the head of the log at the start, so the export ends even while others write; at most one page
of entries is in memory. An error before the first byte is answered with a problem; a later one breaks the connection,
so that a part cannot be mistaken for the whole.
"""

import logging
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.operation import Operation
from api.front.paths import AUDIT
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.audit.filters import FILTER_NAMES, FilterOf
from api.rest.audit.formats import FORMATS, Format
from api.rest.examples import EXPORTED
from api.rest.openapi import ADMIN, problems
from api.rest.schemas import After
from domain.audit.entries import AuditFilter, AuditTrail
from domain.audit.formats import ExportFormat
from domain.audit.query import recorded_query
from domain.errors import InvalidField, InvalidRequestError, ServiceError

PAGE = 1000
"""Entries that are read, written and forgotten together."""
REACH = 50_000
"""Positions that one page looks through at most: a filter that hardly anything fits must not outlast the deadline of
the database."""

router = APIRouter(route_class=Operation, prefix=AUDIT, tags=["audit"], dependencies=[AUTHENTICATED])
_log = logging.getLogger("keyledger.audit")

_ANSWER: dict[str, Any] = {
    "description": "The entries, oldest first, as a file. A connection that breaks means that some are missing.",
    "content": {
        FORMATS[form].media_type.partition(";")[0]: {"schema": {"type": "string"}, "example": EXPORTED[form.value]}
        for form in (ExportFormat.CSV, ExportFormat.JSONL)
    },
    "headers": {"Content-Disposition": {"description": "With the name of the file.", "schema": {"type": "string"}}},
}


@router.get(
    "/export",
    operation_id="exportAudit",
    summary="Export the audit trail",
    response_class=StreamingResponse,
    responses={200: _ANSWER, **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("format", *FILTER_NAMES, "after", "bom")],
)
def export_audit(
    *,
    services: ServicesOf,
    exchange: ExchangeOf,
    form: Annotated[
        ExportFormat,
        Query(alias="format", description="csv, jsonl (JSON Lines), ocsf or cloudevents (both as JSON Lines)."),
    ],
    wanted: FilterOf,
    after: After = 0,
    bom: Annotated[
        bool, Query(description="csv only: begin with a byte order mark, by which Excel knows UTF-8.")
    ] = False,
) -> StreamingResponse:
    """Stream every entry that fits, oldest first. The export itself is recorded, and is its last entry if it fits.

    Give the position of the last entry as `after` to get only what is newer.
    """
    written = FORMATS[form]
    if bom and form is not ExportFormat.CSV:
        raise InvalidRequestError([InvalidField("bom", "is for csv only")])
    headers = {"Content-Disposition": f'attachment; filename="keyledger-audit.{written.ending}"'}
    if exchange.bodiless:
        services.audit.page(replace(wanted, after=after, limit=1))  # an error here is answered as to GET
        return StreamingResponse(iter(()), 200, headers, written.media_type)
    services.audit_recorder.flush()
    services.audit_recorder.exported(exchange.meta(""), form.value, recorded_query(wanted))
    pages = _Pages(services.audit, replace(wanted, after=after), written, _head(services.audit))
    first = pages.next()  # an error here is answered with a problem
    return StreamingResponse(
        _whole((BOM_UTF8 if bom else b"") + written.header + first, pages), 200, headers, written.media_type
    )


def _head(trail: AuditTrail) -> int:
    newest = trail.page(AuditFilter(newest_first=True, limit=1)).entries
    return newest[0].position if newest else 0


@dataclass(slots=True)
class _Pages:
    """The rest of an export. Entries exist only inside `next`, which returns bytes."""

    trail: AuditTrail
    wanted: AuditFilter
    format: Format
    head: int

    def next(self) -> bytes:
        """Return the records of the next page that has any, or nothing at the end. Raises what the trail raises."""
        while self.wanted.after < self.head:
            reach = min(self.head, self.wanted.after + REACH)
            page, following = self.trail.page(replace(self.wanted, before=reach + 1, limit=PAGE))
            self.wanted = replace(self.wanted, after=reach if following is None else following)
            if page:
                return b"".join(map(self.format.row, page))
        return b""


def _whole(first: bytes, pages: _Pages) -> Iterator[bytes]:
    """Yield the export page by page. Raises when a page cannot be read, which ends the connection."""
    yield first
    try:
        while records := pages.next():
            yield records
    except ServiceError as error:
        _log.warning("an export broke off after position %d: %s", pages.wanted.after, error.code)
        raise
