"""Appends that several threads ask for at the same time, made in one call to the log.

While one append is on its way others gather; one of them then takes all of them to the log together. Each is stored
whole or not at all and returns when it is durable, exactly as if it had gone alone: only the commit is shared.
Promises: a conflict of one is not that of others, which are then appended one by one; two appends to one stream never
share a call; nobody waits for longer than `PATIENCE` seconds to be taken along, and whoever gives up was not stored.
An outage ends everything that waits, so that none of it waits for another one. It keeps no state that a crash could
lose: what was not acknowledged may or may not have happened, as ever.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from domain.errors import ServiceError, StoreUnavailable, VersionConflict
from domain.event import Event
from domain.ports import EventLog
from projections.postgres import DEADLINE

PATIENCE = DEADLINE
TOGETHER_MAX = 64
"""Appends in one call: far less than a moment for those who wait for the lock of the log meanwhile."""


@dataclass(slots=True)
class _Append:
    events: Sequence[Event]
    told: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    fault: BaseException | None = None

    def settle(self, fault: BaseException | None) -> None:
        self.fault, self.done = fault, True
        self.told.set()


class CombinedAppends:
    """A log whose appends are combined. Implements `domain.ports.EventLog`; reads are the log's own."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._waiting: list[_Append] = []
        self._under_way = False
        self.last, self.find = log.last, log.find

    def append(self, events: Sequence[Event]) -> None:
        """Store the events with the current view. Raises VersionConflict, StoreUnavailable."""
        own = _Append(events)
        with self._lock:
            self._waiting.append(own)
            leads, self._under_way = not self._under_way, True
        if not leads and not own.told.wait(PATIENCE) and self._withdrawn(own):
            raise StoreUnavailable
        own.told.wait(0 if leads else None)
        if not own.done:
            self._lead(own)
        if own.fault is not None:
            raise own.fault

    def _withdrawn(self, own: _Append) -> bool:
        """Take back what still waits. False: it is on its way, or is to lead."""
        with self._lock:
            waits = own in self._waiting and not own.told.is_set()
            if waits:
                self._waiting.remove(own)
            return waits

    def _lead(self, own: _Append) -> None:
        together = self._taken(own)
        outage = True
        try:
            outage = self._append_all(together)
        finally:
            for one in together:
                if not one.done:  # this thread was interrupted
                    one.settle(StoreUnavailable())
            self._hand_over(outage=outage)

    def _taken(self, own: _Append) -> list[_Append]:
        with self._lock:
            taken, streams = [own], _streams(own)
            self._waiting.remove(own)
            for one in list(self._waiting):
                if len(taken) < TOGETHER_MAX and streams.isdisjoint(_streams(one)):
                    taken.append(one)
                    streams |= _streams(one)
                    self._waiting.remove(one)
            return taken

    def _append_all(self, together: Sequence[_Append]) -> bool:
        """Append and tell each what became of it. Returns whether the store does not answer."""
        try:
            self._log.append([event for one in together for event in one.events])
        except VersionConflict as conflict:
            if len(together) > 1:
                return self._append_each(together)
            together[0].settle(conflict)
        except StoreUnavailable:
            for one in together:
                one.settle(StoreUnavailable())
            return True
        except ServiceError as error:
            for one in together:
                one.settle(error)
        else:
            for one in together:
                one.settle(None)
        return False

    def _append_each(self, together: Sequence[_Append]) -> bool:
        for nth, one in enumerate(together):
            if self._append_all([one]):
                for unsent in together[nth + 1 :]:
                    unsent.settle(StoreUnavailable())
                return True
        return False

    def _hand_over(self, *, outage: bool) -> None:
        """Let the next one lead, or end what waits where the store does not answer: none of it was sent."""
        with self._lock:
            if outage:
                for one in self._waiting:
                    one.settle(StoreUnavailable())
                self._waiting.clear()
            if self._waiting:
                self._waiting[0].told.set()
            else:
                self._under_way = False


def _streams(one: _Append) -> set[UUID]:
    return {event.originator_id for event in one.events}
