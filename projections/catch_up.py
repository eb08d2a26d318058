"""Brings a projection up to date: reads the events after its position, writes rows and position in one transaction.

Promises: every event reaches the projection exactly once and in order, whatever crashes and however many processes
catch up at once. When `run` returns, the projection shows every event that was in the log when it was called. Events
are read and decoded before the projection is locked, and one thread of a process catches up at a time, so that few
connections wait for each other.
Refuses: to skip an event. One that cannot be read stops the projection before it, and every reader gets the error. A
row that is there before the position says so stops it in the same way.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.errors import CredentialIntegrityError, StoreUnavailableError
from domain.event_codec import event_of
from domain.events.event import Event
from domain.events.event_code import LogRow
from projections.database.connections import DEADLINE, BoundedConnection, Connection, unavailable
from projections.quick_events import Quick, quickly

BATCH = 1000
"""Events for one transaction: some tens of milliseconds, far inside the deadline of a request."""

_AFTER = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_events
 WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s
"""
_STREAM = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_events WHERE originator_id = %s ORDER BY originator_version
"""
_LOCK = "SELECT FROM projection_positions WHERE projection = %s FOR UPDATE"
_TOPIC = re.compile("[A-Za-z]{1,64}")
END = 2**63 - 1
"""A position after every other."""

Columns = Sequence[Any]
"""The values of a `LogRow`, as a cursor returns them."""


class Appended:
    """An event, its position in the log, and its row as stored.

    quick: the members of an event that was accepted without being built; it is built when it is asked for.
    """

    __slots__ = ("_event", "position", "quick", "row")

    def __init__(self, position: int, event: Event | None, row: LogRow, quick: Quick | None = None) -> None:
        """event: None only with `quick`."""
        self.position = position
        self.row = row
        self.quick = quick
        self._event = event

    @property
    def event(self) -> Event:
        """The event."""
        if self._event is None:
            self._event = event_of(self.row)
        return self._event


Write = Callable[[Connection, Sequence[Appended]], None]


@dataclass(frozen=True, slots=True)
class Lag:
    """The position of a projection and that of the log's last event."""

    position: int
    head: int


def read_row(columns: Columns) -> Appended:
    """Return the event of a row. Raises CredentialIntegrityError that names the position, and the topic if it is one.

    The stored topic appears in the error only if it has the form of a topic.
    """
    row = LogRow._make(columns)
    if (quick := quickly(row)) is not None:
        return Appended(row.position, None, row, quick)
    try:
        return Appended(row.position, event_of(row), row)
    except CredentialIntegrityError as error:
        named = f", topic {row.topic}" if _TOPIC.fullmatch(row.topic) else ""
        raise CredentialIntegrityError(f"{error.reason} at position {row.position}{named}") from None


def read_rows(connection: Connection, position: int, upto: int = END, limit: int = BATCH) -> list[LogRow]:
    """Return the next rows after `position` and not after `upto`, as they are stored."""
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        return [LogRow._make(row) for row in cursor.execute(_AFTER, [position, upto, limit]).fetchall()]


def every_row(connection: Connection, position: int, upto: int = END) -> Iterator[LogRow]:
    """Yield every row after `position` and not after `upto`, read in batches."""
    while rows := read_rows(connection, position, upto):
        yield from rows
        position = rows[-1].position


def read_stream(connection: Connection, stream: UUID) -> list[LogRow]:
    """Return every row of a stream, oldest first."""
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        return [LogRow._make(row) for row in cursor.execute(_STREAM, [stream]).fetchall()]


def read_after(connection: Connection, position: int, limit: int, upto: int = END) -> list[Appended]:
    """Return the next events after `position` and not after `upto`, up to the first that cannot be read.

    Raises CredentialIntegrityError, with position and topic, when the very next one cannot be read.
    """
    events: list[Appended] = []
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        # All at once: row by row the driver takes as long for each as for decoding half of it.
        for row in cursor.execute(_AFTER, [position, upto, limit]).fetchall():
            try:
                events.append(read_row(row))
            except CredentialIntegrityError:
                if events:
                    break
                raise
    return events


def lock(connection: Connection, projection: str) -> None:
    """Make the caller's transaction the only one that writes a projection. The next one finds the work done.

    The lock is on the row of its position, not on its table, because a replay swaps the table. Only a role that may
    move the position can take it.
    """
    if not connection.execute(_LOCK, [projection]).rowcount:
        connection.execute(
            "INSERT INTO projection_positions (projection, position) VALUES (%s, 0) ON CONFLICT DO NOTHING",
            [projection],
        )
        connection.execute(_LOCK, [projection])  # the row may be another transaction's


def position_of(connection: Connection, projection: str) -> int:
    """Return the last position of the log that a projection shows."""
    row = connection.execute("SELECT position FROM projection_positions WHERE projection = %s", [projection]).fetchone()
    return row["position"] if row else 0


def set_position(connection: Connection, projection: str, position: int) -> None:
    """Record the position of a projection, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO projection_positions (projection, position) VALUES (%s, %s)"
        " ON CONFLICT (projection) DO UPDATE SET position = excluded.position",
        [projection, position],
    )


def read_all(connection: Connection, position: int, batch: int, upto: int = END) -> Iterator[list[Appended]]:
    """Yield everything after `position` and not after `upto` in batches. Raises as `read_after` does."""
    while position < upto and (events := read_after(connection, position, batch, upto)):
        yield events
        position = events[-1].position


class CatchUp:
    """Keeps one projection at the head of the log."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], projection: str, write: Write) -> None:
        """projection: its name, which is that of its table. write: adds a batch inside the caller's transaction."""
        self._pool = pool
        self._projection = projection
        self._write = write
        self._alone = threading.Lock()

    def run(self) -> None:
        """Bring the projection to the head of the log. Raises StoreUnavailableError, CredentialIntegrityError."""
        lag = self.lag()
        if lag.position < lag.head:
            if not self._alone.acquire(timeout=DEADLINE):
                raise StoreUnavailableError
            try:
                self._bring_to(lag)
            finally:
                self._alone.release()

    def _bring_to(self, lag: Lag) -> None:
        position, reached = -1, lag.position
        while position != reached and reached < lag.head:
            position, reached = reached, self._step()

    def lag(self) -> Lag:
        """Return the positions of the projection and the log. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            return self._lag(connection)

    def _step(self) -> int:
        """Add the next batch, unless another process added it meanwhile; return the position then."""
        with unavailable(), self._pool.connection() as connection:
            position = self._lag(connection).position
            batch = read_after(connection, position, BATCH)
        return self._add(position, batch) if batch else position

    def _add(self, position: int, batch: Sequence[Appended]) -> int:
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            lock(connection, self._projection)
            present = self._lag(connection).position
            if present != position:
                return present
            try:
                self._write(connection, batch)
            except UniqueViolation:  # not an outage, which would pass
                raise CredentialIntegrityError(f"{self._projection}-ahead-of position {position}") from None
            set_position(connection, self._projection, batch[-1].position)
            return batch[-1].position

    def _lag(self, connection: Connection) -> Lag:
        row = connection.execute(
            "SELECT coalesce((SELECT position FROM projection_positions WHERE projection = %s), 0) AS position,"
            " coalesce((SELECT max(notification_id) FROM keyledger_events), 0) AS head",
            [self._projection],
        ).fetchone()
        return Lag(row["position"], row["head"]) if row else Lag(0, 0)
