"""An export in parts: each answer holds what was found in about a second and links to the next one.

Promises: one record for the whole export, made before its first part; the parts together are the file that one answer
would be. The link holds all that is needed, so a part may be asked for again, by any node, after any time.
Refuses: a later part of an export that is not in the log with the same caller, format and filter.
"""

import time
from collections.abc import Callable
from urllib.parse import urlencode

from api.front.exchange import Exchange
from domain.audit.entries import Action, AuditFilter, AuditTrail
from domain.audit.formats import ExportFormat
from domain.audit.query import QUERY_MAX, format_query, recorded_query
from domain.errors import InvalidField, InvalidRequestError, StoreUnavailableError

PART_S = 1.0
"""Seconds after which a part ends."""
PART_SIZE = 4_000_000
"""Bytes after which a part ends: it is made in memory."""
BEGINNING = 0
"""The value of `part_of` that begins an export."""
_RECENT = 100
_EXPORTED = Action("audit-exported")


def gathered(next_page: Callable[[], bytes | None], clock: Callable[[], float] = time.monotonic) -> bytes:
    """Return the records of one part. next_page: returns those of a page, None at the end."""
    began, pieces, size = clock(), list[bytes](), 0
    while (page := next_page()) is not None:
        pieces.append(page)
        size += len(page)
        if size >= PART_SIZE or clock() - began >= PART_S:
            break
    return b"".join(pieces)


def require_linkable(wanted: AuditFilter) -> None:
    """Raise InvalidRequestError for a filter that is too long for a link, in which its times are written out."""
    if len(format_query(wanted) or "") > QUERY_MAX:
        raise InvalidRequestError([InvalidField("q", "is too long for an export in parts")])


def link(path: str, form: ExportFormat, wanted: AuditFilter, part_of: int) -> str:
    """Return the link to the part after the position `wanted.after`."""
    query = {"format": form.value, "q": format_query(wanted) or "", "after": wanted.after, "part_of": part_of}
    return f'<{path}?{urlencode({name: value for name, value in query.items() if value != ""})}>; rel="next"'


def position_of_record(trail: AuditTrail, exchange: Exchange) -> int:
    """Return the position of the record that this request made. Raises StoreUnavailableError."""
    before: int | None = None
    for _ in range(_RECENT):
        newest = AuditFilter(action=_EXPORTED, newest_first=True, limit=1, before=before)
        for entry in trail.page(newest).entries:
            if entry.request_id == exchange.request_id:
                return entry.position
            before = entry.position
    raise StoreUnavailableError("More exports than can be told apart began at this moment: try again.")


def require_recorded(
    trail: AuditTrail, exchange: Exchange, form: ExportFormat, wanted: AuditFilter, position: int
) -> None:
    """Raise InvalidRequestError unless the log holds this export, begun by the same caller, at a position."""
    found = trail.page(AuditFilter(after=position - 1, before=position + 1, limit=1)).entries
    query = recorded_query(wanted)
    expected = {"format": form.value} | ({} if query is None else {"query": query})
    if not found or (found[0].action, found[0].actor, dict(found[0].details)) != (
        _EXPORTED,
        exchange.meta("").actor,
        expected,
    ):
        raise InvalidRequestError(
            [InvalidField("part_of", "must be the position of your export in this format with this filter")]
        )
