"""Compares the rows of an inline projection with the last event of each stream.

Memory is bounded by the number of rows.
"""

from typing import Generic, TypeVar

from domain.events.event import Event
from keyledger.evidence.errors import EvidenceError
from projections.catch_up import Appended
from projections.database.connections import Connection
from projections.inline import Columns, InlineProjection

E = TypeVar("E", bound=Event)


class StoredInlineRows(Generic[E]):
    """Takes every event in log order. part: of the verification, which findings name."""

    def __init__(self, connection: Connection, projection: InlineProjection[E], part: str) -> None:
        self._projection = projection
        self._part = part
        rows = connection.execute(f"SELECT * FROM {projection.name}".encode()).fetchall()  # noqa: S608  ours
        self._rows = {self._key(row): dict(row) for row in rows}
        self._last: dict[tuple[str, ...], tuple[int, E]] = {}

    def check(self, appended: Appended) -> None:
        """Note the last event of each stream."""
        if isinstance(appended.event, self._projection.shows):
            row = self._projection.project(appended.event)
            self._last[self._key(row)] = (appended.position, appended.event)

    def finish(self) -> None:
        """Compare every row. Raises EvidenceError."""
        name = self._projection.name
        for key, (position, event) in self._last.items():
            row = self._rows.pop(key, None)
            if row is None:
                raise EvidenceError(f"{name} has no row for it", position, part=self._part)
            if _shown(row) != _shown(self._projection.project(event)):
                meaning = f"its row in {name} does not match its last event"
                raise EvidenceError(meaning, position, part=self._part)
        if self._rows:
            raise EvidenceError(f"{name} has a row that no event accounts for", part=self._part)

    def _key(self, row: Columns) -> tuple[str, ...]:
        return tuple(str(row[column]) for column in self._projection.key)


def _shown(row: Columns) -> Columns:
    """Return a row with its ids as texts, as events have some of them."""
    return {name: str(value) if name.endswith("_id") else value for name, value in row.items()}
