"""The projections that can be replayed: how a copy of each is filled from the log and then extended.

Promises: reading stops at a position, so a copy is a state the log once had. Memory is bounded by a batch, however long
the log is. Nothing is decrypted.
Refuses: an event that cannot be read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import UUID

from psycopg import sql
from psycopg.rows import tuple_row

from domain.events.event import Event
from domain.operations.replay import unknown_projection
from projections.access_keys import ACCESS_KEYS
from projections.audit import audit_trail
from projections.catch_up import Appended, read_all, read_row
from projections.credentials.current_credentials import CURRENT_CREDENTIALS
from projections.database.connections import Connection
from projections.inline import InlineProjection
from projections.proofs import transparency_log
from projections.replay import parallel_fill
from projections.replay.comparison import BY_CREDENTIAL, Naming
from projections.tenants import TENANTS

BATCH = 5_000
E = TypeVar("E", bound=Event)

Progress = Callable[[int, int], None]
"""Called with the number of events replayed so far and in all."""


@dataclass(frozen=True, slots=True)
class Projection:
    """One projection. name: also that of its table. key: its primary key.

    fill(dsn, connection, table, upto, progress): write the rows for the log up to a position into an empty table, and
    return the number of events. extend(connection, batch, table): add the rows for the events that come next.
    follows: it catches up and has a position of its own; otherwise it is written in the transaction of its events.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    fill: Callable[[str, Connection, str, int, Progress], int]
    extend: Callable[[Connection, Sequence[Appended], str], None]
    follows: bool
    naming: Naming = BY_CREDENTIAL


def projection_named(name: str) -> Projection:
    """Return a projection. Raises NotFoundError."""
    if name not in PROJECTIONS:
        raise unknown_projection(list(PROJECTIONS))
    return PROJECTIONS[name]


def extend(connection: Connection, projection: Projection, table: str, position: int, upto: int) -> int:
    """Bring a copy from `position` to `upto`, or to the end of the log if that is earlier, and return its position."""
    for batch in read_all(connection, position, BATCH, upto):
        projection.extend(connection, batch, table)
        position = batch[-1].position
    return position


# Walks the streams in primary-key order and takes the last event of each: twenty thousand steps in an index instead of
# sorting a million rows.
_LAST_EVENTS = """
WITH RECURSIVE streams (originator_id) AS (
    (SELECT originator_id FROM keyledger_events
      WHERE originator_id >= %(least)s AND originator_id IS DISTINCT FROM %(after)s::uuid
      ORDER BY originator_id LIMIT 1)
    UNION ALL
    SELECT n.originator_id FROM streams AS s CROSS JOIN LATERAL (
        SELECT originator_id FROM keyledger_events WHERE originator_id > s.originator_id
         ORDER BY originator_id LIMIT 1) AS n
), page AS (SELECT originator_id FROM streams LIMIT %(limit)s)
SELECT e.notification_id, page.originator_id, e.originator_version, e.topic, e.state, e.code_key_id, e.code
  FROM page LEFT JOIN LATERAL (
       SELECT * FROM keyledger_events AS e
        WHERE e.originator_id = page.originator_id AND e.notification_id <= %(upto)s
        ORDER BY e.originator_version DESC LIMIT 1) AS e ON true
 ORDER BY page.originator_id
"""
_LEAST = UUID(int=0)


def last_events(connection: Connection, upto: int) -> Iterator[list[Appended]]:
    """Yield, in batches, the last event of every stream that is not after `upto`."""
    after: UUID | None = None
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        while rows := cursor.execute(
            _LAST_EVENTS, {"least": after or _LEAST, "after": after, "limit": BATCH, "upto": upto}
        ).fetchall():
            yield [read_row(row) for row in rows if row[0] is not None]
            after = rows[-1][1]


def _inline(projection: InlineProjection[E], naming: Naming) -> Projection:
    """Return how an inline projection is replayed: one row for each stream from its last event."""

    def copy(connection: Connection, events: Iterable[Event], table: str) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, projection.columns))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
        with connection.cursor() as cursor, cursor.copy(statement) as copied:
            for row in projection.rows(events):
                copied.write_row([row[column] for column in projection.columns])

    def fill(dsn: str, connection: Connection, table: str, upto: int, progress: Progress) -> int:
        del dsn  # one process is done before a second would have started
        with connection.transaction():
            for done, batch in enumerate(last_events(connection, upto), start=1):
                copy(connection, [appended.event for appended in batch], table)
                progress(min(done * BATCH, upto), upto)
        progress(upto, upto)
        return upto

    def add(connection: Connection, batch: Sequence[Appended], table: str) -> None:
        rows = projection.rows(appended.event for appended in batch)
        names = sql.SQL(", ").join(map(sql.Identifier, projection.key))
        arrays = sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(kind)) for kind in projection.key.values())
        connection.execute(
            sql.SQL("DELETE FROM {} USING unnest({}) AS w ({}) WHERE ({}) = ({})").format(
                sql.Identifier(table), arrays, names, _of(table, projection.key), _of("w", projection.key)
            ),
            [[row[name] for row in rows] for name in projection.key],
        )
        copy(connection, [appended.event for appended in batch], table)

    return Projection(
        projection.name, tuple(projection.key), projection.columns, fill, add, follows=False, naming=naming
    )


def _of(table: str, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, column) for column in columns)


def _fill_tree(dsn: str, connection: Connection, table: str, upto: int, progress: Progress) -> int:
    """Write the tiles of the tree over the events up to a position."""
    done = parallel_fill.fill(transparency_log.write_leaves, dsn, connection, table, upto, progress)
    with connection.transaction():
        transparency_log.write_upper(connection, table)
    return done


PROJECTIONS: Mapping[str, Projection] = {
    projection.name: projection
    for projection in (
        _inline(CURRENT_CREDENTIALS, BY_CREDENTIAL),
        _inline(ACCESS_KEYS, Naming("NULL::uuid", "NULL::text")),
        _inline(TENANTS, Naming(provider="NULL::text")),
        Projection(
            audit_trail.TABLE,
            ("position",),
            audit_trail.COLUMNS,
            partial(parallel_fill.fill, audit_trail.write),
            audit_trail.write,
            follows=True,
            naming=Naming(position="position"),
        ),
        Projection(
            transparency_log.TABLE,
            ("level", "tile"),
            transparency_log.COLUMNS,
            _fill_tree,
            transparency_log.write,
            follows=True,
            naming=Naming("NULL::uuid", "NULL::text", "CASE WHEN level = 0 THEN tile * 256 + 1 END"),
        ),
    )
}
"""Every projection that can be replayed, by name."""
