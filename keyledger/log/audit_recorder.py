"""Writes into the log what happened besides changes, so that alike things that follow each other cost one event.

Promises: the first of its kind is stored within about a second (a read or an export before it is answered); more of the
same within `WINDOW_S` seconds are counted and stored as one event with their number. At most `KINDS` kinds are told
apart at a time; what comes beyond is counted together. So whoever sends any number of requests causes a bounded number
of events. What the database does not take is kept and tried again.
Survives: an orderly end stores everything; a process that is killed loses the refusals of its last second and the
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

from domain.audit.events import Refusal, audit_exported, audit_read, request_refused
from domain.errors import ServiceError, VersionConflictError
from domain.event import Clock, CommandMeta, Event
from domain.event_log import EventLog

WINDOW_S = 60.0
KINDS = 256
UNCONFIRMED = 4 * KINDS
"""Events that wait for the database at most; while they do, more is counted only."""
TICK_S = 1.0
"""Seconds between two looks at what was noted."""

_WINDOW = timedelta(seconds=WINDOW_S)
_OTHERS = CommandMeta("others", "-", "-", role="unknown", source="api")
_log = logging.getLogger("keyledger.audit")

Make = Callable[[CommandMeta, datetime, int], Event]
"""Makes the event that stands for so many alike."""


@dataclass(slots=True)
class _Kind:
    """Things alike. count: not stored yet. stored_at: when the last event of the kind was stored, None before."""

    meta: CommandMeta
    make: Make
    count: int = 0
    stored_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Say whether an event is to be made for what was counted."""
        return self.count > 0 and (self.stored_at is None or now - self.stored_at >= _WINDOW)

    def is_over(self, now: datetime) -> bool:
        """Say whether nothing came since the last event, for a whole window."""
        return self.count == 0 and self.stored_at is not None and now - self.stored_at >= _WINDOW


class AuditRecorder:
    """Implements `domain.audit.events.AuditRecorder` for one process; a task stores what was noted."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._kinds: dict[object, _Kind] = {}
        self._unconfirmed: list[Event] = []
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._task: asyncio.Task[None] | None = None

    def refused(self, meta: CommandMeta, refusal: Refusal) -> None:
        """Note a refused request."""
        others = Refusal(
            outcome=refusal.outcome, method="other", route="several", status=refusal.status, code="several"
        )
        kind = _Kind(meta, lambda who, now, count: request_refused(who, now, refusal, count))
        beyond = _Kind(_OTHERS, lambda who, now, count: request_refused(who, now, others, count))
        self._note((meta.actor, meta.client_address, refusal), kind, ("others", others), beyond)

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
        """Store every kind that is new or whose window ended.

        Raises StoreUnavailableError; nothing noted is lost by it.
        """
        with self._storing:
            now = self._clock()
            if len(self._unconfirmed) < UNCONFIRMED:
                self._make_events(now, [kind for kind in self._known(now) if kind.is_due(now)])
            self._store()

    async def start(self) -> None:
        """Begin to store what is noted, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="audit records")

    async def stop(self) -> None:
        """End, and store everything that was noted."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._store_all)

    def _note(self, key: object, kind: _Kind, beyond_key: object, beyond: _Kind) -> bool:
        """Count one more of a kind. Return whether none of it was stored within the window."""
        with self._lock:
            known = self._kinds.get(key)
            if known is None and len(self._kinds) >= KINDS:
                known, key, kind = self._kinds.get(beyond_key), beyond_key, beyond
            if known is None:
                known = self._kinds[key] = kind
            known.count += 1
            return known.stored_at is None

    def _known(self, now: datetime) -> list[_Kind]:
        """Forget kinds of which nothing came within a window, and return the others."""
        with self._lock:
            self._kinds = {key: kind for key, kind in self._kinds.items() if not kind.is_over(now)}
            return list(self._kinds.values())

    def _make_events(self, now: datetime, due: list[_Kind]) -> None:
        for kind in due:
            with self._lock:
                count, kind.count, kind.stored_at = kind.count, 0, now
            self._unconfirmed.append(kind.make(replace(kind.meta, command_id=str(uuid4())), now, count))

    def _store(self) -> None:
        """Append what was made. What may have been stored before an outage is sent again under its own command id."""
        if not self._unconfirmed:
            return
        try:
            self._log.append(self._unconfirmed)
        except VersionConflictError:
            for event in self._unconfirmed:
                with contextlib.suppress(VersionConflictError):  # it is there
                    self._log.append([event])
        self._unconfirmed = []

    def _store_all(self) -> None:
        with self._storing, contextlib.suppress(ServiceError):
            now = self._clock()
            self._make_events(now, [kind for kind in self._known(now) if kind.count])
            self._store()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await asyncio.to_thread(self.flush)
            except ServiceError as fault:
                _log.warning("what was refused could not be recorded yet: %s", fault.code)
            except Exception as fault:  # noqa: BLE001  the task must go on; what was noted is kept
                _log.error("what was refused could not be recorded: %s", type(fault).__name__)
