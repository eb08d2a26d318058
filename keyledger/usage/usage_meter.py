"""Counts the calls made with each credential and writes the counts once a second, never a row or an event per call.

Promises: `used` takes a few microseconds and never waits for the database. Each counted call is added to its hour
exactly once (see `unwritten`). The same flush logs a provider's first rejection of a credential and its recovery.
Refuses: to grow without bound. At most `ENTRIES` records wait for the database; while that many do, calls that need
another record are not counted, and the process log says how many. Any caller can name any tenant, so the global key has
records of at most `GLOBAL_TENANTS` tenants an hour and process; further ones are counted together, as `OTHERS`.
Survives: an orderly shutdown stores everything. A killed process loses what it counted in its last second.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain.audit.token_usage import Spent, TokenRecord
from domain.audit.usage import GLOBAL_KEY, HOUR, OTHERS, UsagePlace, UsageRecord, hour_of
from domain.events.event import Clock
from keyledger.log.periodic_task import PeriodicTask, run_or_log
from keyledger.log.recorders.acceptance_recorder import AcceptanceRecorder, Heard
from keyledger.usage.token_counts import TokenCounts
from keyledger.usage.unwritten import Additions, Unwritten
from projections.usage.additions import BATCH

TICK_S = 1.0
"""Seconds between two flushes."""
ENTRIES = 50_000
"""At most this many records wait for the database, about 20 MB."""
GLOBAL_TENANTS = 10_000

_log = logging.getLogger("keyledger.usage")
_Key = tuple[datetime, str, str, int]


@dataclass(slots=True)
class _Count:
    """Calls with one credential version within an hour that are not yet written."""

    last_used_at: datetime
    calls: int = 0
    failures: int = 0
    heard: Heard = field(default_factory=Heard)


class UsageMeter:
    """Implements `domain.audit.usage.UsageMeter` for one process. A task on the event loop flushes it."""

    def __init__(
        self,
        additions: Additions[UsageRecord],
        acceptances: AcceptanceRecorder,
        clock: Clock,
        tokens: Additions[TokenRecord],
        count: Callable[[Sequence[TokenRecord]], None] = lambda records: None,
    ) -> None:
        """additions, tokens: add up calls by version, and tokens by version, caller and model.

        count: called with the tokens that were counted since the last time.
        """
        self._count = count
        self._acceptances = acceptances
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[_Key, _Count] = {}
        self._tokens = TokenCounts(ENTRIES)
        self._room = ENTRIES
        self._uncounted = 0
        self._hour = hour_of(clock())
        self._next_hour = self._hour + HOUR
        self._with_global_key: set[str] = set()
        self._flushing = threading.Lock()
        self._unwritten: Unwritten[UsageRecord] = Unwritten(additions, BATCH)
        self._unwritten_tokens: Unwritten[TokenRecord] = Unwritten(tokens, BATCH)
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
        spent: Spent | None = None,
    ) -> None:
        """Count a call that has ended."""
        now = self._clock()
        with self._lock:
            if not self._hour <= now < self._next_hour:
                self._hour = hour_of(now)
                self._next_hour = self._hour + HOUR
                self._with_global_key.clear()
                self._tokens.begin_hour()
            if version == GLOBAL_KEY:
                tenant_id = self._tenant_or_others(tenant_id)
            key = (self._hour, tenant_id, provider, version)
            if spent is not None and not self._tokens.add(key, spent, now, failed=failed):
                self._uncounted += 1
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
        unwritten = self._unwritten.waits or self._unwritten_tokens.waits
        return bool(self._counts or unwritten or len(self._tokens) or len(self._acceptances))

    def flush(self) -> None:
        """Store counts and answers. Raises StoreUnavailableError; everything is then kept."""
        with self._flushing:
            self._take()
            try:
                self._acceptances.store()
                self._unwritten.write()
                self._unwritten_tokens.write()
            finally:
                self._room = max(0, ENTRIES - max(len(self._unwritten), len(self._acceptances)))
                self._tokens.room = max(0, ENTRIES - len(self._unwritten_tokens))

    async def start(self) -> None:
        """Start the task that flushes, on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and store everything that was counted."""
        await self._task.stop()
        await asyncio.to_thread(self._flush_or_log)

    def _take(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
            tokens = self._tokens.take()
            uncounted, self._uncounted = self._uncounted, 0
        if uncounted:
            _log.warning("%d calls were not counted: too much waits for the database", uncounted)
        for key, count in counts.items():
            if count.heard.refused or count.heard.accepted:
                self._acceptances.hear(key[1:], count.heard)
        self._unwritten.keep(
            UsageRecord(UsagePlace(*key), count.calls, count.failures, count.last_used_at)
            for key, count in counts.items()
        )
        self._unwritten_tokens.keep(tokens)
        self._count(tokens)

    def _flush_or_log(self) -> None:
        run_or_log(self.flush, _log, "what was counted could not be stored")
