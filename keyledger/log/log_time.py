"""Chooses the times of new events so that the time of the log never goes back, however many nodes append at once.

An append that waits for others reaches the log after events that were decided later. It then gets a time a little ahead
of this node's clock, and so do the next ones while appends keep crossing each other; the event also has the node's own
time (`node_time`). Without contention an event has the time of its decision.
Promises: no time is ahead of the clock by more than `AHEAD_MAX`, except where the last event of the log already is. An
event that was decided while the clock was ahead, and is appended once it is right again, gets the present time.
"""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from domain.events.event import EARLIEST, Clock, Event, in_order_of_time

E = TypeVar("E", bound=Event)

AHEAD_MIN = timedelta(milliseconds=5)
"""About as long as an append waits for one of another node."""
AHEAD_MAX = timedelta(milliseconds=640)
_NONE = timedelta()


class LogTime:
    """The times that one process gives to events. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._not_before = EARLIEST
        self._ahead = _NONE

    def stamp(self, events: Sequence[E], crossings: int) -> list[E]:
        """Return the events with times that the log should accept now.

        crossings: how often this append was crossed. A large one takes longer than those that get ahead of it, so its
        times are further ahead than theirs at each attempt, however many of them are stored in between.
        """
        with self._lock:
            ahead = min(self._ahead + (AHEAD_MIN * 2**crossings if crossings else _NONE), AHEAD_MAX)
            now = self._clock()
            expected = now + ahead if ahead else EARLIEST
            bounded = (event if event.timestamp <= now + AHEAD_MAX else event.at(now) for event in events)
            return in_order_of_time(bounded, max(self._not_before, expected))

    def stored(self, last: datetime) -> None:
        """Note that an append was accepted. last: the time of its last event."""
        with self._lock:
            self._not_before = max(self._not_before, last)
            self._ahead = self._ahead * 0.9 if self._ahead > AHEAD_MIN / 5 else _NONE

    def crossed(self, head: datetime) -> None:
        """Note that the last event of the log, at `head`, was later than an event to append."""
        with self._lock:
            self._not_before = max(self._not_before, head)
            self._ahead = min(max(self._ahead * 2, AHEAD_MIN), AHEAD_MAX)
