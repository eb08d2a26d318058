"""JSON Lines: one object for each entry, with the members that `GET /api/v1/audit/entries` shows."""

from api.front.json_response import encode
from api.rest.audit.formats.members import members
from domain.audit.entries import AuditEntry


def row(entry: AuditEntry) -> bytes:
    """Return the entry as a line."""
    return encode(members(entry)) + b"\n"
