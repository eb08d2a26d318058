"""The status of each projection: its lag behind the log, and the event that stops it, if one does.

Promises: read-only. A projection is reported as stopped if the next event it would read cannot be read.
"""

from collections.abc import Sequence

from psycopg import sql

from domain.errors import CredentialIntegrityError
from domain.operations.replay import ProjectionStatus
from projections.catch_up import position_of, read_after
from projections.database.connections import Connection
from projections.replay.replayable import PROJECTIONS, Projection

COUNTED_UP_TO = 200_000
"""Above this number of rows the database's estimate is shown, because counting takes time."""

_ROWS = """
SELECT CASE WHEN c.reltuples < {limit} THEN (SELECT count(*) FROM {table}) ELSE c.reltuples::bigint END AS n
  FROM pg_class AS c WHERE c.oid = {name}::regclass
"""


def projection_statuses(connection: Connection) -> Sequence[ProjectionStatus]:
    """Return every projection with its position."""
    row = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
    head = row["head"] if row else 0
    return [_status(connection, projection, head) for projection in PROJECTIONS.values()]


def _status(connection: Connection, projection: Projection, head: int) -> ProjectionStatus:
    # A projection that does not follow is written in the transaction of its events, so it is always at the head.
    position = position_of(connection, projection.name) if projection.follows else head
    counted = connection.execute(
        sql.SQL(_ROWS).format(
            limit=sql.Literal(COUNTED_UP_TO), table=sql.Identifier(projection.name), name=sql.Literal(projection.name)
        )
    ).fetchone()
    stopped = _obstacle(connection, position) if projection.follows else None
    return ProjectionStatus(projection.name, position, max(head, position), counted["n"] if counted else 0, stopped)


def _obstacle(connection: Connection, position: int) -> str | None:
    try:
        read_after(connection, position, 1)
    except CredentialIntegrityError as error:
        return error.reason
    return None
