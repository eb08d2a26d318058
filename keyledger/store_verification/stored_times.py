"""Checks that no event has an earlier time than the event before it.

Promises: each step back is named by its position and length; the first `LISTED` are kept. An event whose code was
forged and that an operator accepted has no time that counts: no node chose it.
"""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.events.event import EARLIEST
from projections.catch_up import Appended

LISTED = 1_000


@dataclass(frozen=True, slots=True)
class StepBack:
    """One step. position: of the event that is earlier than the one before it, and by how much."""

    position: int
    by: timedelta

    def __str__(self) -> str:
        return (
            f"position {self.position}: its time is {self.by.total_seconds():.6f} s before that of the event before it"
        )


class StoredTimes:
    """Takes every event in log order."""

    def __init__(self, accepted: Set[int]) -> None:
        """accepted: positions of forged events that an operator accepted."""
        self._accepted = accepted
        self._before: datetime = EARLIEST
        self.steps: list[StepBack] = []
        self.count = 0

    def check(self, appended: Appended) -> None:
        """Compare the time of an event with that of the event before it."""
        if appended.position in self._accepted:
            return
        time = appended.event.timestamp
        if time < self._before:
            self.count += 1
            if self.count <= LISTED:
                self.steps.append(StepBack(appended.position, self._before - time))
        self._before = time
