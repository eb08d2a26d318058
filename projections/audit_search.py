"""Searches the audit trail and opens the personal members of what it returns.

Promises: reading catches up with the log first, so a reader sees every write acknowledged before the read. Entries
never move, so the page after a position is the same at any time. Keys are read for each page and forgotten with it, so
nothing is shown once its key is destroyed. A search for texts opens entry by entry, at most `LOOKED_AT` of them for a
page; such a page may hold fewer entries than asked for, and says where the search continues.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from psycopg import sql
from psycopg_pool import ConnectionPool

from domain.audit.entries import OF_A_CREDENTIAL, Action, AuditEntry, AuditFilter, FoundEntries
from domain.audit.event_catalogue import BY_ACTION
from domain.audit.request_events import Outcome
from domain.errors import CredentialIntegrityError
from domain.personal import Disclosing, Place, is_sealed
from projections.catch_up import CatchUp
from projections.database.connections import BoundedConnection, Row, unavailable

LOOKED_AT = 20_000
"""Entries that a search for texts opens for one page: about half a second of work."""
_WINDOW = 1_000
_COLUMNS = ("actor", "client_address", "reason", "fingerprint")
"""Columns whose texts may be sealed."""


class PostgresAuditTrail:
    """Reads the audit trail. Implements `domain.audit.entries.AuditTrail`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], catch_up: CatchUp, people: Disclosing) -> None:
        self._pool = pool
        self._catch_up = catch_up
        self._people = people

    def page(self, wanted: AuditFilter) -> FoundEntries:
        """Return the matching entries, in order. Raises StoreUnavailableError, CredentialIntegrityError."""
        self._catch_up.run()
        person = self._people.person_named(wanted.actor) if wanted.actor is not None else None
        found: list[AuditEntry] = []
        looked, window, left = wanted, _WINDOW if wanted.looks_inside else wanted.limit, LOOKED_AT
        while True:
            entries = self._entries(looked, person, window)
            found += (entry for entry in entries if wanted.fits_inside(entry))
            if len(found) >= wanted.limit:
                return FoundEntries(found[: wanted.limit], found[wanted.limit - 1].position)
            if len(entries) < window:
                return FoundEntries(found, None)
            last, left = entries[-1].position, left - window
            if left <= 0:
                return FoundEntries(found, last)
            looked = replace(wanted, before=last) if wanted.newest_first else replace(wanted, after=last)

    def _entries(self, wanted: AuditFilter, person: str | None, limit: int) -> Sequence[AuditEntry]:
        conditions, values = _conditions(wanted, person)
        query = sql.SQL("SELECT * FROM audit_trail WHERE {} ORDER BY position {} LIMIT %s").format(
            sql.SQL(" AND ").join(map(sql.SQL, conditions)), sql.SQL("DESC" if wanted.newest_first else "ASC")
        )
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(query, [*values, limit]).fetchall()
        entries = opened(rows, self._people)
        if any(wanted.actor not in {None, entry.actor} and entry.actor is not None for entry in entries):
            raise CredentialIntegrityError("personal-lookup")  # the name's digest was moved to another person
        return entries


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


def _conditions(wanted: AuditFilter, person: str | None) -> tuple[list[str], list[object]]:
    tests: Sequence[tuple[str, object]] = (
        ("position > %s", wanted.after),
        ("position < %s", wanted.before),
        ("tenant_id = %s", wanted.tenant_id),
        ("provider = %s", wanted.provider),
        ("action = %s", wanted.action),
        ("action = ANY (%s)", list(OF_A_CREDENTIAL) if wanted.of_credential else None),
        ("outcome = %s", wanted.outcome),
        ("key_id = %s", wanted.key_id),
        ("recorded_at >= %s", wanted.since),
        ("recorded_at < %s", wanted.until),
    )
    stated = [(test, value) for test, value in tests if value is not None]
    asked, values = [test for test, _ in stated], [value for _, value in stated]
    if wanted.actor is not None:
        asked.append("(person = %s OR (person IS NULL AND actor = %s))")
        values += [person, wanted.actor]
    if wanted.fingerprint is not None:
        asked.append("fingerprint IS NOT NULL")
    return asked, values


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
