"""Compares the stored audit trail with the log, entry by entry, reading both in step."""

from collections.abc import Iterator
from itertools import chain

from psycopg import sql
from psycopg.rows import tuple_row

from domain.audit.entries import action_of
from keyledger.evidence.errors import EvidenceError
from projections.audit import audit_trail
from projections.catch_up import Appended, position_of
from projections.database.connections import Connection

_BATCH = 2_000


class StoredTrail:
    """Takes every event in log order. Needs a transaction, because it reads through a server-side cursor."""

    def __init__(self, connection: Connection) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, audit_trail.COLUMNS))
        self._cursor = connection.cursor("verified_trail", row_factory=tuple_row)
        self._cursor.execute(sql.SQL("SELECT {} FROM audit_trail ORDER BY position").format(columns))
        self._rows: Iterator[tuple[object, ...]] = chain.from_iterable(iter(lambda: self._cursor.fetchmany(_BATCH), []))
        self._topics: dict[int, str] = {}
        self._next = next(self._rows, None)
        self.position = position_of(connection, audit_trail.TABLE)

    def compare(self, appended: Appended) -> None:
        """Compare the entry of an event with what the event says."""
        event, stream = appended.event, appended.event.originator_id.int
        action = action_of(event, self._topics.get(stream))
        self._topics[stream] = event.TOPIC
        if appended.position > self.position:
            return
        stored = self._next
        if stored is None or _position(stored) > appended.position:
            raise EvidenceError("the audit trail has no entry for it", appended.position, part="trail")
        if _position(stored) < appended.position:
            raise _unfounded(stored)
        if stored != audit_trail.comparable(audit_trail.project(appended, action)):
            meaning = "its entry in the audit trail does not match the event"
            raise EvidenceError(meaning, appended.position, part="trail")
        self._next = next(self._rows, None)

    def finish(self) -> None:
        """Look for entries after the last event."""
        if self._next is not None:
            raise _unfounded(self._next)

    def close(self) -> None:
        """Close the cursor."""
        self._cursor.close()


def _position(row: tuple[object, ...]) -> int:
    assert isinstance(row[0], int)  # noqa: S101  the primary key
    return row[0]


def _unfounded(row: tuple[object, ...]) -> EvidenceError:
    return EvidenceError("the audit trail has an entry that no event accounts for", _position(row), part="trail")
