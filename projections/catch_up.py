"""How a view follows the log: read what is new after its position, write rows and position in one transaction.

Promises: every event reaches the view exactly once and in order, whatever crashes and however many processes follow at
once; after `run` returned, the view shows every event that was in the log when it was called.
Refuses: to skip. An event it does not understand stops the view where it is, and every reader of it is told.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.errors import CredentialIntegrityError
from domain.event import Event
from domain.event_codec import decode
from projections.database.connections import BoundedConnection, Connection, unavailable

BATCH = 1000
"""Events for one transaction: some tens of milliseconds, far inside the deadline of a request."""

_AFTER = """
SELECT notification_id, originator_id, originator_version, topic, state FROM keyledger_events
 WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s
"""
_TOPIC = re.compile("[A-Za-z]{1,64}")
END = 2**63 - 1
"""A position after every other."""

StoredRow = tuple[int, UUID, int, str, bytes]
"""Position, stream, version, topic and members of an event, as the log has them."""


class Appended(NamedTuple):
    """An event, its position in the log, and its members as they are stored."""

    position: int
    event: Event
    state: bytes


Write = Callable[[Connection, Sequence[Appended]], None]


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a view is behind: its position and the position of the log's last event."""

    position: int
    head: int


def read_row(row: StoredRow) -> Appended:
    """Return the event of a row. Raises CredentialIntegrityError that names the position, and the topic if it is one.

    What stands where the topic should be is repeated only when it has the form of one.
    """
    position, stream, version, topic, state = row
    try:
        return Appended(position, decode(stream, version, topic, state), state)
    except CredentialIntegrityError as fault:
        named = f", topic {topic}" if _TOPIC.fullmatch(topic) else ""
        raise CredentialIntegrityError(f"{fault.reason} at position {position}{named}") from None


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
    """Make the caller's transaction the only follower of a view. The next one finds the work done.

    By name, not by table: a rebuild puts another table in its place.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [projection])


def position_of(connection: Connection, projection: str) -> int:
    """Return how far a view that follows the log has come."""
    row = connection.execute("SELECT position FROM projection_positions WHERE projection = %s", [projection]).fetchone()
    return row["position"] if row else 0


def set_position(connection: Connection, projection: str, position: int) -> None:
    """Record, inside the caller's transaction, how far a view has come."""
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
    """Keeps one view at the head of the log."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], projection: str, write: Write) -> None:
        """projection: the name of the view and of its table. write: adds a batch inside the caller's transaction."""
        self._pool = pool
        self._projection = projection
        self._write = write

    def run(self) -> None:
        """Bring the view to the head the log has now. Raises StoreUnavailableError, CredentialIntegrityError."""
        lag = self.lag()
        position, reached = -1, lag.position
        while position < reached < lag.head:
            position, reached = reached, self._step()

    def lag(self) -> Lag:
        """Return where the view and the log are. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            return self._lag(connection)

    def _step(self) -> int:
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            lock(connection, self._projection)
            position = self._lag(connection).position
            batch = read_after(connection, position, BATCH)
            if not batch:
                return position
            self._write(connection, batch)
            set_position(connection, self._projection, batch[-1].position)
            return batch[-1].position

    def _lag(self, connection: Connection) -> Lag:
        row = connection.execute(
            "SELECT coalesce((SELECT position FROM projection_positions WHERE projection = %s), 0) AS position,"
            " coalesce((SELECT max(notification_id) FROM keyledger_events), 0) AS head",
            [self._projection],
        ).fetchone()
        return Lag(row["position"], row["head"]) if row else Lag(0, 0)
