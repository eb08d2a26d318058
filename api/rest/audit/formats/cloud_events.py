"""CloudEvents 1.0 in the JSON format, structured mode, one event a line. `data` is the entry as the service shows it.

Promises: `id` is the position in the log, so `source` and `id` identify an event that is sent twice; `time` is when
it happened. All ledgers have the same source: a collector of several has to keep them apart.
"""

from api.front.json_response import encode
from api.rest.audit.formats.members import members
from domain.audit.entries import AuditEntry

SOURCE = "/keyledger/audit"
_TYPE = "keyledger.audit."


def row(entry: AuditEntry) -> bytes:
    """Return the entry as a line."""
    data = members(entry)
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": str(entry.position),
        "source": SOURCE,
        "type": _TYPE + entry.action.value,
        "time": data["timestamp"],
    }
    if subject := subject_of(entry):
        event["subject"] = subject
    return encode({**event, "datacontenttype": "application/json", "data": data}) + b"\n"


def subject_of(entry: AuditEntry) -> str | None:
    """Return what the entry is about as a path below the service's own, or None where no tenant is concerned."""
    if entry.tenant_id is None:
        return None
    tenant = f"tenants/{entry.tenant_id}"
    return f"{tenant}/credentials/{entry.provider}" if entry.provider else tenant
