"""The last event that this process acknowledged, and whether the log still has it.

With asynchronous replication a failover may lose the last commits, in a tail that is usually younger than the anchor.
The process that acknowledged them still knows.
Promises: every heartbeat compares, so the loss is noticed on the first one that the new primary confirms.
Limits: a process that ended knows nothing. When an operator accepts the log as it is, the event is forgotten.
"""

import threading

from domain.events.event_code import LogRow
from domain.operations.restore import RESTORE_STREAM
from projections.catch_up import read_rows
from projections.database.connections import Connection

_ACCEPTED = "SELECT coalesce(max(originator_version), 0) AS version FROM keyledger_events WHERE originator_id = %s"


class Acknowledged:
    """Remembers one event. Thread-safe."""

    def __init__(self) -> None:
        self._last: LogRow | None = None
        self._accepted: int | None = None
        self._lock = threading.Lock()

    def note(self, row: LogRow) -> None:
        """Remember an event that is about to be acknowledged, if it is the last one."""
        with self._lock:
            if self._last is None or row.position > self._last.position:
                self._last = row

    def contradiction(self, connection: Connection) -> str:
        """Return how the log contradicts what is known, as text for people; "" if it does not."""
        last = self._last
        if last is None:
            return ""
        found = read_rows(connection, last.position - 1, upto=last.position)
        row = connection.execute(_ACCEPTED, [RESTORE_STREAM]).fetchone()
        accepted: int = row["version"] if row else 0
        if found == [last]:
            self._accepted = accepted
            return ""
        if self._accepted is not None and accepted > self._accepted:
            with self._lock:
                self._last = None
            return ""
        self._accepted = accepted
        return f"the log no longer has position {last.position}, which this node acknowledged: it was lost or changed"
