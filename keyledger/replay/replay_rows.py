"""The progress of replays: one row for each, written by the service that runs it and read by any node.

Promises: a row holds the last state its service wrote. A running replay whose row was not renewed for `SILENT_S`
seconds reads as interrupted. Rows may be lost: the log and the projections do not depend on them.
"""

import json
from dataclasses import asdict

from psycopg_pool import ConnectionPool

from domain.operations.replay import Difference, ReplayResult, ReplayState, ReplayStatus, Swap, replay_not_found
from projections.database.connections import BoundedConnection, Row, unavailable

SILENT_S = 15

_OPEN = """
INSERT INTO projection_replays (replay_id, projection, actor, swap, state) VALUES (%s, %s, %s, %s, 'running')
ON CONFLICT (replay_id) DO NOTHING
"""
_RENEW = "UPDATE projection_replays SET done = %s, total = %s, updated_at = now() WHERE replay_id = %s"
_CLOSE = """
UPDATE projection_replays SET state = %s, result = %s::jsonb, failure = %s, updated_at = now(), finished_at = now()
 WHERE replay_id = %s
"""
_READ = """
SELECT *, state = 'running' AND updated_at < now() - make_interval(secs => %s) AS silent FROM projection_replays
 WHERE replay_id = %s
"""


class ReplayRows:
    """The rows of the table `projection_replays`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def open(self, replay_id: str, projection: str, swap: Swap, actor: str) -> bool:
        """Record that a replay began. Return False if it was recorded before. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            return connection.execute(_OPEN, [replay_id, projection, actor, swap.value]).rowcount == 1

    def renew(self, replay_id: str, done: int, total: int) -> None:
        """Record the progress of a replay. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            connection.execute(_RENEW, [done, total, replay_id])

    def close(
        self, replay_id: str, state: ReplayState, result: ReplayResult | None = None, failure: str | None = None
    ) -> None:
        """Record how a replay ended. Raises StoreUnavailableError."""
        found = json.dumps(asdict(result)) if result else None
        with unavailable(), self._pool.connection() as connection:
            connection.execute(_CLOSE, [state.value, found, failure, replay_id])

    def one(self, replay_id: str) -> ReplayStatus:
        """Return one replay. Raises NotFoundError, StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            row = connection.execute(_READ, [SILENT_S, replay_id]).fetchone()
        if row is None:
            raise replay_not_found()
        return _status(row)


def _status(row: Row) -> ReplayStatus:
    return ReplayStatus(
        replay_id=str(row["replay_id"]),
        projection=row["projection"],
        actor=row["actor"],
        swap=Swap(row["swap"]),
        state=ReplayState.INTERRUPTED if row["silent"] else ReplayState(row["state"]),
        done=row["done"],
        total=row["total"],
        result=_result(row["result"]) if row["result"] else None,
        failure=row["failure"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        finished_at=row["updated_at"] if row["silent"] else row["finished_at"],
    )


def _result(stored: Row) -> ReplayResult:
    shown = tuple(Difference(**one) for one in stored["differences"])
    return ReplayResult(**{**stored, "differences": shown})
