"""The status of rotations, visible to all nodes: one row for each, written by the process that runs it.

Promises: a row has the last status that its writer reported; a running one that was not renewed for `SILENT_S` seconds
reads as interrupted, so a killed rotation does not look alive for long. Rows are for information only: progress is
recorded in the log, and losing a row loses nothing.
"""

import json
from collections.abc import Sequence

from psycopg_pool import ConnectionPool

from domain.operations.encryption_keys import KeyRotationStarted, RotationCounts
from domain.operations.rotation import RotationState, RotationStatus, Unopened, rotation_not_found
from keyledger.encryption.rotation import RotationProgress
from projections.database.connections import BoundedConnection, Row, unavailable

SILENT_S = 15
SHOWN = 50

_OPEN = """
INSERT INTO key_rotations (rotation_id, key_id, actor, state, total, started_at)
VALUES (%s, %s, %s, 'running', %s, %s) ON CONFLICT (rotation_id) DO NOTHING
"""
_WRITE = """
UPDATE key_rotations SET state = %(state)s, reencrypted = %(reencrypted)s, skipped = %(skipped)s, failed = %(failed)s,
       unopened = %(unopened)s::jsonb, updated_at = now(),
       finished_at = CASE WHEN %(state)s <> 'running' THEN now() END
 WHERE rotation_id = %(rotation_id)s AND set_config('synchronous_commit', %(commit)s, true) IS NOT NULL
RETURNING cancel_requested
"""
"""Updates between batches do not wait for the disk: no batch has to wait, and a crash ends the rotation anyway."""
_READ = """
SELECT *, state = 'running' AND updated_at < now() - make_interval(secs => %(silent)s) AS silent FROM key_rotations
"""


class RotationRows:
    """The rows of the table `key_rotations`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def open(self, begun: KeyRotationStarted) -> bool:
        """Insert a row for a rotation that began; return whether there was none. Raises StoreUnavailableError."""
        values = [begun.rotation_id, begun.key_id, begun.actor, begun.credentials, begun.timestamp]
        with unavailable(), self._pool.connection() as connection:
            return connection.execute(_OPEN, values).rowcount == 1

    def write(self, progress: RotationProgress, state: RotationState) -> bool:
        """Update a rotation's status; return whether its cancellation was requested. Raises StoreUnavailableError."""
        values = {
            "rotation_id": progress.rotation_id,
            "state": state.value,
            "reencrypted": progress.counts.reencrypted,
            "skipped": progress.counts.skipped,
            "failed": progress.counts.failed,
            "commit": "off" if state is RotationState.RUNNING else "on",
            "unopened": json.dumps([[one.tenant_id, one.provider, one.reason] for one in progress.unopened]),
        }
        with unavailable(), self._pool.connection() as connection:
            row = connection.execute(_WRITE, values).fetchone()
        return bool(row and row["cancel_requested"])

    def latest(self) -> Sequence[RotationStatus]:
        """Return the newest `SHOWN` rotations, newest first. Raises StoreUnavailableError."""
        return self._read("ORDER BY started_at DESC, rotation_id LIMIT %(shown)s", {"shown": SHOWN})

    def running(self) -> Sequence[RotationStatus]:
        """Return the rotations that are running. Raises StoreUnavailableError."""
        found = self._read("WHERE state = 'running' ORDER BY started_at", {})
        return [one for one in found if one.state is RotationState.RUNNING]

    def one(self, rotation_id: str) -> RotationStatus:
        """Return one rotation. Raises NotFoundError, StoreUnavailableError."""
        found = self._read("WHERE rotation_id = %(id)s", {"id": rotation_id})
        if not found:
            raise rotation_not_found()
        return found[0]

    def cancel(self, rotation_id: str) -> RotationStatus:
        """Request a rotation to stop after its batch. Raises NotFoundError, StoreUnavailableError."""
        statement = "UPDATE key_rotations SET cancel_requested = true WHERE rotation_id = %s AND state = 'running'"
        with unavailable(), self._pool.connection() as connection:
            connection.execute(statement, [rotation_id])
        return self.one(rotation_id)

    def _read(self, rest: str, values: dict[str, object]) -> list[RotationStatus]:
        query = f"{_READ} {rest}".encode()  # its parts come from this module
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(query, {"silent": SILENT_S, **values}).fetchall()
        return [_status(row) for row in rows]


def _status(row: Row) -> RotationStatus:
    return RotationStatus(
        rotation_id=str(row["rotation_id"]),
        key_id=row["key_id"],
        actor=row["actor"],
        state=RotationState.INTERRUPTED if row["silent"] else RotationState(row["state"]),
        total=row["total"],
        counts=RotationCounts(row["reencrypted"], row["skipped"], row["failed"]),
        unopened=tuple(Unopened(*one) for one in row["unopened"]),
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        finished_at=row["updated_at"] if row["silent"] else row["finished_at"],
    )
