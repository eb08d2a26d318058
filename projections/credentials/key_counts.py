"""How many credentials are sealed under each encryption key now, and how many ever were.

Promises: what was counted of the history is kept and not counted again, since entries never change; a statement counts
at most `SPAN` entries, so none outlasts its deadline however long the log is. The last entries and the live credentials
are counted in one snapshot, so a rotation that is under way cannot make a difference of the two wrong.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from psycopg_pool import ConnectionPool

from projections.audit.audit_trail import TABLE
from projections.catch_up import CatchUp, position_of
from projections.database.connections import BoundedConnection, Connection, unavailable

SPAN = 200_000
"""Entries that one statement counts: some tens of milliseconds."""

_SEALED = """
SELECT key_id, count(*) AS n FROM audit_trail
 WHERE tenant_id IS NOT NULL AND key_id IS NOT NULL AND position > %s AND position <= %s GROUP BY key_id
"""
_LIVE = "SELECT key_id, count(*) AS n FROM current_credentials WHERE token IS NOT NULL GROUP BY key_id"


class KeyCount(NamedTuple):
    """The counts of one key. live: credentials in effect. sealed: in the whole history, including those."""

    live: int = 0
    sealed: int = 0


class KeyCounts:
    """Counts for one process. Thread-safe."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], follower: CatchUp) -> None:
        """follower: updates the audit trail, from which the history is counted."""
        self._pool = pool
        self._follower = follower
        self._counted_to = 0
        self._sealed = Counter[str]()
        self._counting = threading.Lock()

    def all(self) -> Mapping[str, KeyCount]:
        """Return the counts by key id, as rows have them. Raises StoreUnavailableError, CredentialIntegrityError."""
        self._follower.run()
        with self._counting:
            while not self._near_head():
                pass
            with unavailable(), self._pool.connection() as connection, connection.transaction(snapshot=True):
                self._count(connection, position_of(connection, TABLE))
                live = {row["key_id"]: row["n"] for row in connection.execute(_LIVE)}
            return {key_id: KeyCount(live.get(key_id, 0), self._sealed[key_id]) for key_id in {*live, *self._sealed}}

    def _near_head(self) -> bool:
        """Count the next span; return whether less than one is left."""
        with unavailable(), self._pool.connection() as connection, connection.transaction(snapshot=True):
            head = position_of(connection, TABLE)
            if head < self._counted_to:  # a replay from an earlier state
                self._counted_to, self._sealed = 0, Counter()
            self._count(connection, min(head, self._counted_to + SPAN))
        return head - self._counted_to < SPAN

    def _count(self, connection: Connection, upto: int) -> None:
        rows = connection.execute(_SEALED, [self._counted_to, upto]).fetchall()
        self._sealed.update({row["key_id"]: row["n"] for row in rows})
        self._counted_to = max(upto, self._counted_to)
