"""The audit trail as a file: every entry that fits a filter, streamed, in one of the formats of `audit_exports`.

Promises: the export is recorded before its first byte, or refused; HEAD exports and records nothing. Entries are in
order and complete up to the head of the log at the start, so the export ends even while others write; at most one page
of entries is in memory. An error before the first byte is answered with a problem; a later one breaks the connection,
so that a part cannot be mistaken for the whole. With `part_of` the export comes in parts (`export_parts`).
"""

import logging
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.front.exchange import AUTHENTICATED, ExchangeOf
from api.front.operation import Operation
from api.front.paths import AUDIT
from api.front.services import ServicesOf
from api.front.validation import only_query
from api.rest.audit import export_parts as parts
from api.rest.audit.filters import FILTER_NAMES, FilterOf
from api.rest.audit.formats import FORMATS, Format
from api.rest.examples import EXPORTED
from api.rest.openapi import ADMIN, problems
from api.rest.schemas import POSITION_MAX, Absent, After
from domain.audit.entries import AuditFilter, AuditTrail
from domain.audit.formats import ExportFormat
from domain.audit.query import recorded_query
from domain.errors import InvalidField, InvalidRequestError, ServiceError

PAGE = 1000
"""Entries that are read, written and forgotten together."""

router = APIRouter(route_class=Operation, prefix=AUDIT, tags=["audit"], dependencies=[AUTHENTICATED])
_log = logging.getLogger("keyledger.audit")

_ANSWER: dict[str, Any] = {
    "description": "The entries, oldest first, as a file. If the connection breaks, some are missing.",
    "content": {
        FORMATS[form].media_type.partition(";")[0]: {"schema": {"type": "string"}, "example": EXPORTED[form.value]}
        for form in (ExportFormat.CSV, ExportFormat.JSONL)
    },
    "headers": {
        "Content-Disposition": {"description": "With the name of the file.", "schema": {"type": "string"}},
        "Link": {"description": "With `part_of`: the next part, if there is one.", "schema": {"type": "string"}},
    },
}
PartOf = Annotated[
    Annotated[int, Query(ge=0, le=POSITION_MAX)] | Absent,
    Query(description="In parts of about a second: 0 begins an export, and the Link header leads to the next part."),
]


@router.get(
    "/export",
    operation_id="exportAudit",
    summary="Export the audit trail",
    response_class=StreamingResponse,
    responses={200: _ANSWER, **problems(*ADMIN, "credential-integrity")},
    dependencies=[only_query("format", *FILTER_NAMES, "after", "bom", "part_of")],
)
def export_audit(
    *,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    form: Annotated[
        ExportFormat,
        Query(alias="format", description="csv, jsonl (JSON Lines), ocsf or cloudevents (both as JSON Lines)."),
    ],
    wanted: FilterOf,
    after: After = 0,
    bom: Annotated[
        bool, Query(description="csv only: begin with a byte order mark, by which Excel knows UTF-8.")
    ] = False,
    part_of: PartOf = None,
) -> Response:
    """Stream every entry that fits, oldest first. The export itself is recorded, and is its last entry if it fits.

    Give the position of the last entry as `after` to get only what is newer.
    """
    written = FORMATS[form]
    if bom and form is not ExportFormat.CSV:
        raise InvalidRequestError([InvalidField("bom", "is for csv only")])
    if part_of is not None:
        parts.require_linkable(wanted)
    headers = {"Content-Disposition": f'attachment; filename="keyledger-audit.{written.ending}"'}
    if exchange.bodiless:
        services.audit.page(replace(wanted, after=after, limit=1))  # an error here is answered as to GET
        return StreamingResponse(iter(()), 200, headers, written.media_type)
    if part_of:
        parts.require_recorded(services.audit, exchange, form, wanted, part_of)
    else:
        services.audit_recorder.flush()
        services.audit_recorder.exported(exchange.meta(""), form.value, recorded_query(wanted))
    opening = b"" if part_of else (BOM_UTF8 if bom else b"") + written.header
    pages = _Pages(services.audit, replace(wanted, after=after), written, 0)
    if part_of is None:
        pages.head = _head(services.audit)
        first = pages.next() or b""  # an error here is answered with a problem
        return StreamingResponse(_whole(opening + first, pages), 200, headers, written.media_type)
    pages.head = part_of or parts.position_of_record(services.audit, exchange)
    records = opening + parts.gathered(pages.next)
    if not pages.at_end:
        headers["Link"] = parts.link(request.url.path, form, pages.wanted, pages.head)
    return Response(records, 200, headers, written.media_type)


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

    @property
    def at_end(self) -> bool:
        """Whether everything up to the head was looked through."""
        return self.wanted.after >= self.head

    def next(self) -> bytes | None:
        """Return the records of the next page, perhaps none; None at the end. Raises what the trail raises."""
        if self.at_end:
            return None
        page, following = self.trail.page(replace(self.wanted, before=self.head + 1, limit=PAGE))
        self.wanted = replace(self.wanted, after=self.head if following is None else following)
        return b"".join(map(self.format.row, page))


def _whole(first: bytes, pages: _Pages) -> Iterator[bytes]:
    """Yield the export page by page. Raises when a page cannot be read, which ends the connection."""
    yield first
    try:
        while (records := pages.next()) is not None:
            if records:
                yield records
    except ServiceError as error:
        _log.warning("an export broke off after position %d: %s", pages.wanted.after, error.code)
        raise
