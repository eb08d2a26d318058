"""Where each view stands: how far it is behind the log, and what stops it if something does.

Promises: it reads and changes nothing; a view is called stopped when the next event it would read cannot be read.
"""

from collections.abc import Sequence

from psycopg import sql

from domain.errors import CredentialIntegrityError
from domain.operations.replay import ProjectionStatus
from projections.catch_up import position_of, read_after
from projections.database.connections import Connection
from projections.replay.replayable import PROJECTIONS, Projection

COUNTED_UP_TO = 2_000_000
"""Rows beyond which the database's own estimate is shown: counting them takes seconds."""

_ROWS = """
SELECT CASE WHEN c.reltuples < {limit} THEN (SELECT count(*) FROM {table}) ELSE c.reltuples::bigint END AS n
  FROM pg_class AS c WHERE c.oid = {name}::regclass
"""


def projection_statuses(connection: Connection) -> Sequence[ProjectionStatus]:
    """Return every view with its position."""
    row = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
    head = row["head"] if row else 0
    return [_status(connection, view, head) for view in PROJECTIONS.values()]


def _status(connection: Connection, view: Projection, head: int) -> ProjectionStatus:
    # A view that does not follow is written in the transaction of the events, so it is where the log is.
    position = position_of(connection, view.name) if view.follows else head
    counted = connection.execute(
        sql.SQL(_ROWS).format(
            limit=sql.Literal(COUNTED_UP_TO), table=sql.Identifier(view.name), name=sql.Literal(view.name)
        )
    ).fetchone()
    stopped = _obstacle(connection, position) if view.follows else None
    return ProjectionStatus(view.name, position, max(head, position), counted["n"] if counted else 0, stopped)


def _obstacle(connection: Connection, position: int) -> str | None:
    try:
        read_after(connection, position, 1)
    except CredentialIntegrityError as fault:
        return fault.reason
    return None
