"""Compares the rows of `access_keys` with the last event of each key.

Memory is bounded by the number of keys.
"""

from domain.access.access_key import AccessKeyEvent
from keyledger.evidence.errors import EvidenceError
from projections.access_keys import ACCESS_KEYS
from projections.catch_up import Appended
from projections.database.connections import Connection


class StoredAccessKeys:
    """Takes every event in log order."""

    def __init__(self, connection: Connection) -> None:
        rows = connection.execute("SELECT * FROM access_keys").fetchall()
        self._rows = {str(row["name"]): dict(row) for row in rows}
        self._last: dict[str, tuple[int, AccessKeyEvent]] = {}

    def check(self, appended: Appended) -> None:
        """Note the last event of each key."""
        if isinstance(appended.event, AccessKeyEvent):
            self._last[appended.event.access_key] = (appended.position, appended.event)

    def finish(self) -> None:
        """Compare every row. Raises EvidenceError."""
        for name, (position, event) in self._last.items():
            row = self._rows.pop(name, None)
            if row is None:
                raise EvidenceError("access_keys has no row for it", position, part="access")
            if row != ACCESS_KEYS.project(event):
                raise EvidenceError("its row in access_keys does not match its last event", position, part="access")
        if self._rows:
            raise EvidenceError("access_keys has a row that no event accounts for", part="access")
