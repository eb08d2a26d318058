"""Rows of the audit trail as entries, with their personal members opened.

Promises: a member that cannot be opened any more is named and has no value. A row that no program of this release could
have written raises CredentialIntegrityError.
"""

from collections.abc import Mapping, Sequence

from domain.audit.entries import Action, AuditEntry
from domain.audit.event_catalogue import BY_ACTION
from domain.audit.request_events import Outcome
from domain.errors import CredentialIntegrityError
from domain.events.personal import Disclosing, Place, is_sealed
from projections.database.connections import Row

_COLUMNS = ("actor", "client_address", "reason", "fingerprint")
"""Columns whose texts may be sealed."""


def opened(rows: Sequence[Row], people: Disclosing) -> Sequence[AuditEntry]:
    """Return rows of the trail as entries. Raises StoreUnavailableError, CredentialIntegrityError."""
    sealed = [(nth, member, text) for nth, row in enumerate(rows) for member, text in _sealed_in(row)]
    values = people.disclosed(
        [(Place(rows[n]["stream_id"], rows[n]["version"], name), text) for n, name, text in sealed]
    )
    opened_in: list[dict[str, str | None]] = [{} for _ in rows]
    for (nth, member, _), value in zip(sealed, values, strict=True):
        opened_in[nth][member] = value.value if value is not None else None
    return [_entry(row, members) for row, members in zip(rows, opened_in, strict=True)]


def _sealed_in(row: Row) -> list[tuple[str, str]]:
    """Return the sealed members of a row with their texts."""
    of_action = BY_ACTION.get(row["action"])
    named = [(name, row[name]) for name in _COLUMNS]
    named += [(name, row["details"].get(name)) for name in (of_action[0].of_person if of_action else ())]
    return [(name, text) for name, text in named if text is not None and is_sealed(text)]


def _entry(row: Row, members: Mapping[str, str | None]) -> AuditEntry:
    shown = {name: members.get(name, row[name]) for name in _COLUMNS}
    details = {**row["details"], **{name: value for name, value in members.items() if name not in _COLUMNS}}
    return AuditEntry(
        position=row["position"],
        timestamp=row["recorded_at"],
        action=_action(row["action"]),
        outcome=_outcome(row["outcome"]),
        tenant_id=str(row["tenant_id"]) if row["tenant_id"] else None,
        provider=row["provider"],
        version=row["version"],
        actor=shown["actor"],
        role=row["role"],
        source=row["source"],
        client_address=shown["client_address"],
        reason=shown["reason"],
        request_id=row["request_id"],
        command_id=row["command_id"],
        causation_id=row["causation_id"],
        node_time=row["node_time"],
        masked_key=row["masked_key"],
        key_id=row["key_id"],
        fingerprint=shown["fingerprint"],
        details={name: value for name, value in details.items() if value is not None},
        erased=tuple(name for name, value in members.items() if value is None),
    )


def _action(stored: str) -> Action:
    try:
        return Action(stored)
    except ValueError:
        raise CredentialIntegrityError("audit-action-unknown") from None


def _outcome(stored: str) -> Outcome:
    try:
        return Outcome(stored)
    except ValueError:
        raise CredentialIntegrityError("audit-outcome-unknown") from None
