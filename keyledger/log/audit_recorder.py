"""Logs refused requests, reads and exports; a run of similar ones becomes one event with a count.

Promises: the first of a kind is stored within about a second (a read or an export before it is answered). More of the
same kind within `WINDOW_S` seconds are counted and stored as one event. At most `KINDS` kinds are kept apart at a time;
the rest are counted together. So any number of requests causes a bounded number of events. Whatever the database does
not accept is kept and tried again.
Survives: an orderly shutdown stores everything. A killed process loses the refused requests of its last second and the
counts of its last window, never a change and never the fact of an export.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from domain.audit.request_events import RefusedRequest, audit_exported, audit_read, request_refused
from domain.errors import ServiceError, VersionConflictError
from domain.event import Clock, CommandMeta, Event
from domain.event_log import EventLog
from keyledger.log.periodic_task import PeriodicTask, run_or_log

WINDOW_S = 60.0
KINDS = 256
UNCONFIRMED = 4 * KINDS
"""At most this many events wait for the database; until they are stored, later ones are only counted."""
TICK_S = 1.0
"""Seconds between two flushes."""

_WINDOW = timedelta(seconds=WINDOW_S)
_OTHERS = CommandMeta("others", "-", "-", role="unknown", source="api")
_log = logging.getLogger("keyledger.audit")

Make = Callable[[CommandMeta, datetime, int], Event]
"""Makes the event for a number of similar requests."""


@dataclass(slots=True)
class _Kind:
    """Requests of one kind. count: not yet stored. stored_at: when the last event was stored; None before."""

    meta: CommandMeta
    make: Make
    count: int = 0
    stored_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Say whether the count is due to be stored."""
        return self.count > 0 and (self.stored_at is None or now - self.stored_at >= _WINDOW)

    def is_over(self, now: datetime) -> bool:
        """Say whether a whole window has passed without another request of this kind."""
        return self.count == 0 and self.stored_at is not None and now - self.stored_at >= _WINDOW


class AuditRecorder:
    """Implements `domain.audit.request_events.AuditRecorder` for one process; a task stores what is recorded."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._kinds: dict[object, _Kind] = {}
        self._unconfirmed: list[Event] = []
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._task = PeriodicTask(self._flush_or_log, TICK_S, "audit records", pause_first=True)

    def refused(self, meta: CommandMeta, refused: RefusedRequest) -> None:
        """Record a refused request."""
        others = RefusedRequest(
            outcome=refused.outcome, method="other", route="several", status=refused.status, code="several"
        )
        kind = _Kind(meta, lambda who, now, count: request_refused(who, now, refused, count))
        beyond = _Kind(_OTHERS, lambda who, now, count: request_refused(who, now, others, count))
        self._note((meta.actor, meta.client_address, refused), kind, ("others", others), beyond)

    def read(self, meta: CommandMeta, view: str, query: str | None) -> None:
        """Record a read of the audit. Raises StoreUnavailableError."""
        key = (meta.actor, meta.client_address, view, query)
        kind = _Kind(meta, lambda who, now, count: audit_read(who, now, view, query, count))
        first = self._note(key, kind, ("others", view), replace(kind, meta=replace(meta, request_id="-")))
        if first or self._unconfirmed:
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
            if len(self._unconfirmed) < UNCONFIRMED:
                self._make_events(now, [kind for kind in self._known(now) if kind.is_due(now)])
            self._store()

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and store everything that was recorded."""
        await self._task.stop()
        await asyncio.to_thread(self._store_all)

    def _note(self, key: object, kind: _Kind, beyond_key: object, beyond: _Kind) -> bool:
        """Count one more of a kind. Return True if none of the kind was stored within the window."""
        with self._lock:
            known = self._kinds.get(key)
            if known is None and len(self._kinds) >= KINDS:
                known, key, kind = self._kinds.get(beyond_key), beyond_key, beyond
            if known is None:
                known = self._kinds[key] = kind
            known.count += 1
            return known.stored_at is None

    def _known(self, now: datetime) -> list[_Kind]:
        """Drop the kinds that are idle, and return the others."""
        with self._lock:
            self._kinds = {key: kind for key, kind in self._kinds.items() if not kind.is_over(now)}
            return list(self._kinds.values())

    def _make_events(self, now: datetime, due: list[_Kind]) -> None:
        for kind in due:
            with self._lock:
                count, kind.count, kind.stored_at = kind.count, 0, now
            self._unconfirmed.append(kind.make(replace(kind.meta, command_id=str(uuid4())), now, count))

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
        self._unconfirmed = []

    def _store_all(self) -> None:
        with self._storing, contextlib.suppress(ServiceError):
            now = self._clock()
            self._make_events(now, [kind for kind in self._known(now) if kind.count])
            self._store()

    def _flush_or_log(self) -> None:
        run_or_log(self.flush, _log, "what was refused could not be recorded")
