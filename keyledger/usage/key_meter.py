"""Counts the requests of each access key and writes the counts every few seconds, never a row per request.

Promises: `used` takes a microsecond or two and never waits for the database. Reads include what this process counted.
What could not be written, because the database did not answer, is kept for the next time; where the answer to a write
was lost, its counts may be added twice, which changes no `last_used_at`.
Refuses: to grow without bound. At most `ENTRIES` records wait for the database; further keys are then not counted.
Survives: an orderly shutdown stores everything. A killed process loses what it counted in its last seconds.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from domain.access.key_usage import KeyHour, KeyHours, KeyUsage
from domain.audit.usage import hour_of
from domain.errors import StoreUnavailableError
from domain.events.event import Clock
from keyledger.log.periodic_task import PeriodicTask, run_or_log

TICK_S = 5.0
"""Seconds between two flushes."""
ENTRIES = 20_000

_log = logging.getLogger("keyledger.usage")


class Additions(KeyUsage, Protocol):
    """Adds up counts and reads them, as `projections.usage.access_key_usage` does."""

    def add(self, records: Sequence[KeyHour]) -> None:
        """Add all or none. Raises StoreUnavailableError."""
        ...


class KeyMeter:
    """Counts for one process. Implements `domain.access.key_usage.KeyUsage`."""

    def __init__(self, stored: Additions, clock: Clock) -> None:
        self._stored = stored
        self._clock = clock
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._counts: dict[tuple[str, datetime], tuple[int, datetime]] = {}
        self._task = PeriodicTask(self._flush_or_log, TICK_S, "meter of access keys", pause_first=True)

    def used(self, name: str) -> None:
        """Count a request that was admitted. name: of its key."""
        now = self._clock()
        place = (name, hour_of(now))
        with self._lock:
            count, _ = self._counts.get(place, (0, now))
            if count or len(self._counts) < ENTRIES:
                self._counts[place] = (count + 1, now)

    def last_used(self, names: Sequence[str]) -> Mapping[str, datetime]:
        """Return when each key was last used, for those that were. Raises StoreUnavailableError."""
        self.flush()
        return self._stored.last_used(names)

    def hours(self, wanted: KeyHours) -> Sequence[KeyHour]:
        """Return the hours in which a key was used, oldest first. Raises StoreUnavailableError."""
        self.flush()
        return self._stored.hours(wanted)

    def flush(self) -> None:
        """Store what was counted. Raises StoreUnavailableError; everything is then kept."""
        with self._flushing:
            with self._lock:
                counts, self._counts = self._counts, {}
            if not counts:
                return
            try:
                self._stored.add([KeyHour(*place, count, last) for place, (count, last) in counts.items()])
            except StoreUnavailableError:
                self._keep(counts)
                raise

    async def start(self) -> None:
        """Start the task that flushes, on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and store everything that was counted."""
        await self._task.stop()
        await asyncio.to_thread(self._flush_or_log)

    def _keep(self, counts: Mapping[tuple[str, datetime], tuple[int, datetime]]) -> None:
        with self._lock:
            for place, (count, last) in counts.items():
                more, latest = self._counts.get(place, (0, last))
                self._counts[place] = (count + more, max(last, latest))

    def _flush_or_log(self) -> None:
        run_or_log(self.flush, _log, "the use of access keys could not be stored")
