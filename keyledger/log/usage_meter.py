"""Counts the calls made with each credential and writes the counts once a second, never a row or an event per call.

Promises: `used` takes a microsecond or two and never waits for the database. Each counted call is added to its hour
exactly once, with any number of nodes, even if the database was unavailable meanwhile or the answer to a commit was
lost. The same flush logs a provider's first rejection of a credential and its recovery.
Refuses: to grow without bound. At most `ENTRIES` records wait for the database; while that many do, calls that need
another record are not counted, and the process log says how many. Any caller can name any tenant, so the global key has
records of at most `GLOBAL_TENANTS` tenants an hour and process; further ones are counted together, as `OTHERS`.
Survives: an orderly shutdown stores everything. A killed process loses what it counted in its last second.
"""

import asyncio
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.audit.usage import GLOBAL_KEY, HOUR, OTHERS, UsagePlace, UsageRecord, hour_of
from domain.errors import StoreUnavailableError
from domain.event import Clock
from keyledger.log.acceptance_recorder import AcceptanceRecorder, Heard
from keyledger.log.periodic_task import PeriodicTask, run_or_log
from projections.credential_usage import BATCH

TICK_S = 1.0
"""Seconds between two flushes."""
ENTRIES = 50_000
"""At most this many records wait for the database, about 20 MB."""
GLOBAL_TENANTS = 10_000

_log = logging.getLogger("keyledger.usage")
_Key = tuple[datetime, str, str, int]


class Additions(Protocol):
    """Adds up counts, as `projections.credential_usage` does."""

    def add(self, records: Sequence[UsageRecord]) -> str | None:
        """Add all or none. Return the transaction when its outcome is unknown. Raises StoreUnavailableError."""
        ...

    def was_added(self, transaction: str) -> bool:
        """Say whether an addition took effect. Raises StoreUnavailableError."""
        ...


@dataclass(slots=True)
class _Count:
    """Calls with one credential version within an hour that are not yet written."""

    last_used_at: datetime
    calls: int = 0
    failures: int = 0
    heard: Heard = field(default_factory=Heard)

    def add(self, record: UsageRecord) -> None:
        self.calls += record.calls
        self.failures += record.failures
        self.last_used_at = max(self.last_used_at, record.last_used_at)


class UsageMeter:
    """Implements `domain.audit.usage.UsageMeter` for one process. A task on the event loop flushes it."""

    def __init__(self, additions: Additions, acceptances: AcceptanceRecorder, clock: Clock) -> None:
        self._additions = additions
        self._acceptances = acceptances
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[_Key, _Count] = {}
        self._room = ENTRIES
        self._uncounted = 0
        self._hour = hour_of(clock())
        self._next_hour = self._hour + HOUR
        self._with_global_key: set[str] = set()
        self._flushing = threading.Lock()
        self._unwritten: dict[_Key, _Count] = {}
        self._doubtful: tuple[str, Sequence[UsageRecord]] | None = None
        self._task = PeriodicTask(self._flush_or_log, TICK_S, "usage meter", pause_first=True)

    def used(
        self,
        tenant_id: str,
        provider: str,
        version: int,
        *,
        failed: bool,
        rejected: bool,
        request_id: str | None = None,
    ) -> None:
        """Count a call that has ended."""
        now = self._clock()
        with self._lock:
            if not self._hour <= now < self._next_hour:
                self._hour = hour_of(now)
                self._next_hour = self._hour + HOUR
                self._with_global_key.clear()
            if version == GLOBAL_KEY:
                tenant_id = self._tenant_or_others(tenant_id)
            key = (self._hour, tenant_id, provider, version)
            count = self._counts.get(key)
            if count is None:
                if len(self._counts) >= self._room:
                    self._uncounted += 1
                    return
                count = self._counts[key] = _Count(now)
            count.calls += 1
            count.failures += failed
            if now > count.last_used_at:  # noqa: PLR1730  on every call, where `max` would cost a tenth of it
                count.last_used_at = now
            if (rejected or not failed) and version != GLOBAL_KEY:
                count.heard.hear(rejected=rejected, request_id=request_id)

    def _tenant_or_others(self, tenant_id: str) -> str:
        known = self._with_global_key
        if tenant_id not in known:
            if len(known) >= GLOBAL_TENANTS:
                return OTHERS
            known.add(tenant_id)
        return tenant_id

    def waits(self) -> bool:
        """Say whether anything is waiting to be stored."""
        return bool(self._counts or self._unwritten or self._doubtful or len(self._acceptances))

    def flush(self) -> None:
        """Store counts and answers. Raises StoreUnavailableError; everything is then kept."""
        with self._flushing:
            self._take()
            try:
                self._acceptances.store()
                self._write()
            finally:
                self._room = max(0, ENTRIES - max(len(self._unwritten), len(self._acceptances)))

    async def start(self) -> None:
        """Start the task that flushes every second, on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and store everything that was counted."""
        await self._task.stop()
        await asyncio.to_thread(self._flush_or_log)

    def _take(self) -> None:
        """Move the counts to the records that wait to be written."""
        with self._lock:
            counts, self._counts = self._counts, {}
            uncounted, self._uncounted = self._uncounted, 0
        if uncounted:
            _log.warning("%d calls were not counted: too much waits for the database", uncounted)
        for key, count in counts.items():
            if count.heard.refused or count.heard.accepted:
                self._acceptances.hear(key[1:], count.heard)
        self._keep(_records(counts))

    def _keep(self, records: Iterable[UsageRecord]) -> None:
        for record in records:
            self._unwritten.setdefault(record.place, _Count(record.last_used_at)).add(record)

    def _write(self) -> None:
        if self._doubtful is not None:
            transaction, records = self._doubtful
            if not self._additions.was_added(transaction):
                self._keep(records)
            self._doubtful = None
        waiting = _records(self._unwritten)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            doubtful = self._additions.add(batch)
            self._forget(batch)
            if doubtful is not None:
                self._doubtful = (doubtful, batch)
                raise StoreUnavailableError

    def _forget(self, records: Iterable[UsageRecord]) -> None:
        for record in records:
            del self._unwritten[record.place]

    def _flush_or_log(self) -> None:
        run_or_log(self.flush, _log, "what was counted could not be stored")


def _records(counts: "dict[_Key, _Count]") -> list[UsageRecord]:
    return [
        UsageRecord(UsagePlace(*key), count.calls, count.failures, count.last_used_at) for key, count in counts.items()
    ]
