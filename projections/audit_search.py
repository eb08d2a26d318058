"""Searches the audit trail and opens the personal members of what it returns.

Promises: reading catches up with the log first, so a reader sees every write acknowledged before the read. Entries
never move, so the page after a position is the same at any time. Keys are read for each page and forgotten with it, so
nothing is shown once its key is destroyed. No page takes longer as the log grows: a search that no index serves looks
through `SPANS` spans of positions, and one for texts opens at most `LOOKED_AT` entries. Such a page may hold fewer
entries than asked for, even none, and says where the search continues.
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
from projections.audit_trail import TABLE
from projections.catch_up import CatchUp, position_of
from projections.database.connections import BoundedConnection, Row, unavailable

LOOKED_AT = 10_000
"""Entries that a search for texts opens for one page: a quarter to half a second of work."""
_WINDOW = 1_000
SPAN = 200_000
"""Positions that one statement looks through where no index helps: about 50 ms."""
_NO_END = 2**63 - 1
SPANS = 4
"""Such statements for one page."""
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
        stretch = self._stretch(wanted)
        window = _WINDOW if wanted.looks_inside else wanted.limit
        steps = min(SPANS if stretch.bounded else LOOKED_AT, LOOKED_AT // window if wanted.looks_inside else LOOKED_AT)
        for _ in range(steps):
            span = stretch.span()
            entries = self._entries(replace(wanted, after=span.start, before=span.stop), person, window)
            found += (entry for entry in entries if wanted.fits_inside(entry))
            if len(found) >= wanted.limit:
                return FoundEntries(found[: wanted.limit], found[wanted.limit - 1].position)
            stretch.looked_at(span, entries[-1].position if len(entries) == window else None)
            if stretch.is_empty:
                return FoundEntries(found, None)
        return FoundEntries(found, stretch.following)

    def _stretch(self, wanted: AuditFilter) -> "_Stretch":
        bounded, end = not _is_indexed(wanted), _NO_END
        if bounded:
            with unavailable(), self._pool.connection() as connection:
                end = position_of(connection, TABLE) + 1
        before = end if wanted.before is None else min(wanted.before, end)
        return _Stretch(wanted.after, before, newest_first=wanted.newest_first, bounded=bounded)

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


class _Stretch:
    """The positions between two that are still to be looked through, in the order of a search.

    bounded: in spans of `SPAN` positions.
    """

    def __init__(self, after: int, before: int, *, newest_first: bool, bounded: bool) -> None:
        self._after, self._before = after, before
        self._newest_first = newest_first
        self.bounded = bounded

    @property
    def is_empty(self) -> bool:
        return self._before - self._after <= 1

    @property
    def following(self) -> int:
        """The position from which a later search continues."""
        return self._before if self._newest_first else self._after

    def span(self) -> range:
        """Return the next span, of which neither end is included."""
        length = SPAN + 1 if self.bounded else self._before
        if self._newest_first:
            return range(max(self._after, self._before - length), self._before)
        return range(self._after, min(self._before, self._after + length))

    def looked_at(self, span: range, up_to: int | None) -> None:
        """Take away what was looked through: a whole span, or the part of it up to a position."""
        if self._newest_first:
            self._before = span.start + 1 if up_to is None else up_to
        else:
            self._after = span.stop - 1 if up_to is None else up_to


def _is_indexed(wanted: AuditFilter) -> bool:
    """Say whether an index finds the entries, or every entry is one."""
    if wanted.tenant_id is not None or wanted.actor is not None or wanted.fingerprint is not None:
        return True
    if any(test is not None for test in (wanted.provider, wanted.action, wanted.since, wanted.until)):
        return False
    rare = wanted.outcome is not None and wanted.outcome is not Outcome.SUCCESS
    return not wanted.of_credential and (wanted.outcome is None or (rare and wanted.key_id is None))


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
    if wanted.outcome is not None and wanted.outcome is not Outcome.SUCCESS:
        asked.append("outcome <> 'success'")  # in the words of the index: a plan is made before the value is known
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
