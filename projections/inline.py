"""Projections that are written in the transaction of their events: one row for each stream, from its last event.

Promises: the append, a replay and `keyledger verify` compute a row in the same way. A row depends on one event only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.events.event import Event

E = TypeVar("E", bound=Event)
Columns = dict[str, object]
"""A row by the names of its columns."""


@dataclass(frozen=True, slots=True)
class InlineProjection(Generic[E]):
    """One projection. name: also that of its table. key: of the table, by column its type. shows: the events it shows.

    project: returns the row after an event.
    """

    name: str
    key: Mapping[str, str]
    columns: tuple[str, ...]
    shows: type[E]
    project: Callable[[E], Columns]

    def last_of_each(self, events: Iterable[Event]) -> list[E]:
        """Return the last event of each stream among `events`, which are in the order of the log."""
        return list({event.originator_id: event for event in events if isinstance(event, self.shows)}.values())

    def rows(self, events: Iterable[Event]) -> list[Columns]:
        """Return the rows after `events`, which are in the order of the log."""
        return [self.project(event) for event in self.last_of_each(events)]
