"""The log in memory."""

from collections.abc import Mapping, Sequence
from threading import Lock
from uuid import UUID

from domain.approvals.needs import Approval, require_approved
from domain.credentials.recording import recordable
from domain.errors import StoreUnavailableError, VersionConflictError
from domain.events.event import Event
from domain.events.event_code import LogRow
from domain.events.event_log import NOTHING_PRESUMED, Presumed


class MemoryLog:
    """Implements `domain.events.event_log.StreamLog` on one list of events.

    Fails when told to, before or after the effect.

    down: nothing answers. faults: what the next appends do, see `tests.support.scenario.FAULTS`. interlopers: events
    that get into the log just before the next append. unconfirmed: no write is confirmed from now on.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.errors: list[str] = []
        self.interlopers: list[Event] = []
        self.down = False
        self.unconfirmed = False
        self.approvals: frozenset[Approval] = frozenset()
        self._lock = Lock()

    def last(self, stream: UUID) -> Event | None:
        return max(self.stream(stream), key=lambda event: event.originator_version, default=None)

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        self.answer()
        found = {stream: self.last(stream) for stream in streams}
        return {stream: event for stream, event in found.items() if event is not None}

    def presumed(self, streams: Sequence[UUID], *, read: bool = False) -> Presumed:
        return Presumed(self.newest(streams), NOTHING_PRESUMED)

    def find_all(self, wanted: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Event]:
        self.answer()
        caused = {(event.originator_id, event.command_id): event for event in reversed(self.events)}
        return {one: caused[one] for one in wanted if one in caused}

    def stream(self, stream: UUID) -> Sequence[Event]:
        self.answer()
        return [event for event in self.events if event.originator_id == stream]

    def proves(self, event: Event) -> bool:
        return event in self.events

    def disowns(self, event: Event) -> bool:
        return event not in self.events

    def confirm(self, events: Sequence[Event]) -> None:
        self.answer()
        if self.unconfirmed or any(event not in self.events for event in events):
            raise StoreUnavailableError

    def append(self, events: Sequence[Event], presumed: Mapping[UUID, LogRow | None] = NOTHING_PRESUMED) -> None:
        self.answer()
        require_approved(events, self.approvals)
        with self._lock:
            error = self.errors.pop(0) if self.errors else ""
            if error == "outage before the effect":
                raise StoreUnavailableError
            if self.interlopers:
                self.events.append(self.interlopers.pop(0))
            places = [(event.originator_id, event.originator_version) for event in (*self.events, *events)]
            if len(set(places)) < len(places):
                raise VersionConflictError(events[0].originator_version, precondition=False)
            self.events.extend(map(recordable, events))
        if error == "outage after the effect":
            raise StoreUnavailableError
        if error == "conflict after the effect":
            raise VersionConflictError(events[0].originator_version, precondition=False)

    def answer(self) -> None:
        """Raise StoreUnavailableError while the log is down."""
        if self.down:
            raise StoreUnavailableError
