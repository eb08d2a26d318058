"""Logs refused requests, lock-outs, reads and exports, so that no caller can hide or drown the records of another.

Promises: each caller has counts and quotas of its own (`tally`), so what one does never changes how the requests of
another are recorded. The first request of a kind is stored within about a second (a read or an export before it is
answered); more of the same kind are counted and stored as one event. For a caller with a key, a kind is everything that
is recorded: address, method, route, tenant, provider, status, code. Within an hour, its first 200 kinds of refused
writes and its first 100 kinds of other refused requests have records of their own; neither uses up the other. Any more
are counted by method, route, status and tenant, and for each method, route and status from the 17th tenant on without
the tenant. All callers without a valid key share one quota; their kinds are address (IPv6: the /64), status and route.
So any number of requests, from any number of addresses, causes a bounded number of events. Whatever the database does
not accept is kept and tried again.
Survives: an orderly shutdown stores everything. A killed process loses the refused requests of its last second and the
counts of its last window, never a change and never the fact of an export.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Hashable
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from uuid import uuid4

from domain.audit.client_network import network_of
from domain.audit.request_events import ANONYMOUS, Lockout, ReadOfAudit, RefusedRequest, audit_exported
from domain.errors import ServiceError, VersionConflictError
from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_log import EventLog
from keyledger.log.periodic_task import PeriodicTask, run_or_log
from keyledger.log.recorders.tally import Beyond, Facts, Quota, Tally

UNCONFIRMED = 1024
"""At most this many events wait for the database; until they are stored, later ones are only counted."""
TICK_S = 1.0
"""Seconds between two flushes."""

_MINUTE = timedelta(minutes=1)
OF_WRITES = Quota(200, 200, 200, _MINUTE, 10 * _MINUTE, apart=16)
"""For refused writes of one caller with a key."""
OF_OTHERS = Quota(100, 100, 100, _MINUTE, 10 * _MINUTE, apart=16)
"""For all other refused requests of one caller with a key."""
OF_STRANGERS = Quota(16, 8, 12, 30 * _MINUTE, 30 * _MINUTE, of_a_client=4)
"""For refused requests of all callers without a valid key."""
OF_LOCKOUTS = Quota(5, 3, 2, 30 * _MINUTE, 30 * _MINUTE, of_a_client=1)
"""For all lock-outs of addresses. Together with the refused requests of strangers: 46 events an hour."""
OF_READS = Quota(1000, 5000, 1000, _MINUTE, _MINUTE)
"""For reads of the audit by one caller."""

_WRITES = frozenset({"PUT", "POST", "PATCH", "DELETE"})

_log = logging.getLogger("keyledger.audit")


class AuditRecorder:
    """Implements `domain.audit.request_events.AuditRecorder` for one process; a task stores what is recorded."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._unconfirmed: list[Event] = []
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._task = PeriodicTask(self._flush_or_log, TICK_S, "audit records", pause_first=True)

    def refused(self, meta: CommandMeta, refused: RefusedRequest) -> None:
        """Record a refused request."""
        if meta.role == ANONYMOUS:
            beyond = (refused.outcome, refused.status)
            # Nothing else in it may make a kind: a stranger can make up any number of tenants and methods.
            key = (network_of(meta.client_address), *beyond, refused.route)
            self._note("refused by a stranger", OF_STRANGERS, key, Beyond(beyond), meta, refused)
            return
        # A caller that floods on purpose still leaves the method and route of everything it tried.
        merged = Beyond((refused.outcome, refused.status, refused.method, refused.route), refused.tenant_id)
        what, quota = ("refused write", OF_WRITES) if refused.method in _WRITES else ("refused", OF_OTHERS)
        self._note(what, quota, (meta.client_address, refused), merged, meta, refused)

    def locked_out(self, meta: CommandMeta, lockout: Lockout) -> None:
        """Record that an address was locked out."""
        self._note("locked out", OF_LOCKOUTS, (network_of(meta.client_address),), Beyond(None), meta, lockout)

    def read(self, meta: CommandMeta, view: str, query: str | None) -> None:
        """Record a read of the audit. Raises StoreUnavailableError."""
        facts = ReadOfAudit(view=view, query=query)
        if self._note("read", OF_READS, (meta.client_address, facts), Beyond(view), meta, facts) or self._unconfirmed:
            self.flush()

    def exported(self, meta: CommandMeta, form: str, query: str | None) -> None:
        """Record an export. Raises StoreUnavailableError."""
        self._log.append([audit_exported(replace(meta, command_id=str(uuid4())), self._clock(), form, query)])

    def flush(self) -> None:
        """Store every kind that is new or whose window has ended.

        Raises StoreUnavailableError; everything recorded is then kept.
        """
        with self._storing:
            now = self._clock()
            with self._lock:
                due = (event for tally in self._tallies.values() for event in tally.records(now))
                self._unconfirmed += islice(due, max(0, UNCONFIRMED - len(self._unconfirmed)))
                self._tallies = {key: tally for key, tally in self._tallies.items() if not tally.is_idle()}
            self._store()

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and store everything that was recorded."""
        await self._task.stop()
        await asyncio.to_thread(self._store_all)

    def _note(
        self, what: str, quota: Quota, key: tuple[Hashable, ...], beyond: Beyond, meta: CommandMeta, facts: Facts
    ) -> bool:
        """Count one more request of a caller. Return whether its record is due at once."""
        now = self._clock()
        with self._lock:
            tally = self._tallies.get((what, meta.actor))
            if tally is None:
                tally = self._tallies[what, meta.actor] = Tally(quota)
            return tally.note(key, beyond, meta, facts, now)

    def _store(self) -> None:
        """Append the waiting events. After an outage, events are sent again with the same command ids."""
        if not self._unconfirmed:
            return
        try:
            self._log.append(self._unconfirmed)
        except VersionConflictError:
            for event in self._unconfirmed:
                with contextlib.suppress(VersionConflictError):  # it is stored already
                    self._log.append([event])
            self._log.confirm(self._unconfirmed)
        self._unconfirmed = []

    def _store_all(self) -> None:
        with self._storing, contextlib.suppress(ServiceError):
            now = self._clock()
            with self._lock:
                for tally in self._tallies.values():
                    self._unconfirmed += tally.last_records(now)
            self._store()

    def _flush_or_log(self) -> None:
        run_or_log(self.flush, _log, "what was refused could not be recorded")
