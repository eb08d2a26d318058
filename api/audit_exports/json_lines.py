"""JSON Lines: one object for each entry, with the members that `GET /api/v1/audit/entries` shows."""

from api.audit_exports.members import members
from api.json_response import encode
from domain.audit import AuditEntry


def row(entry: AuditEntry) -> bytes:
    """Return the entry as a line."""
    return encode(members(entry)) + b"\n"
