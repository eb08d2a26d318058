"""Watches that the log only grows, and keeps the anchor outside the database near its head.

Promises: about a second after an event was committed the anchor knows it, and at an orderly end it knows the last; a
log that went backwards or was rewritten under a running service ends its readiness. While the log contradicts the
anchor, the anchor stays as it is: only an operator renews it.
Where DATA_DIR cannot be written, the watch goes on in memory for as long as the process lives, and readiness says so.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from psycopg_pool import ConnectionPool

from api.front.services import CheckResult
from domain.errors import ServiceError
from keyledger.log.anchor import Anchor, AnchorFile, Contradiction, look
from keyledger.log.durable_file import UnreadableFileError
from projections.database.connections import BoundedConnection

TICK_S = 1.0
"""Seconds between two looks at the log."""

_log = logging.getLogger("keyledger.store")


class LogWatch:
    """Compares the log with its anchor. A task on the event loop does it all the time."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], file: AnchorFile) -> None:
        self._pool = pool
        self._file = file
        self._on_file: Mapping[str, Anchor] = {}
        self._seen: Mapping[str, Anchor] = {}
        self._unwritable = False
        self._fault = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="watch of the log")

    async def stop(self) -> None:
        """End, and record what was appended since the last look."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await asyncio.to_thread(self.record)

    def record(self) -> None:
        """Look at the log and renew the anchor, unless the two contradict each other. Failures are logged."""
        try:
            now, contradiction = look(self._pool, self._known())
        except ServiceError:
            return  # logged where it was met; the next look finds out
        except UnreadableFileError:
            self._note("the anchor of the log cannot be read")
            return
        self._note(contradiction.detail if contradiction else "")
        if contradiction is None:
            self._seen = {**self._seen, now.ledger_id: now}
            if now != self._on_file.get(now.ledger_id):
                self._write(now)

    def check(self) -> CheckResult:
        """Compare the log with the anchor now. Raises StoreUnavailableError."""
        try:
            now, contradiction = look(self._pool, self._known())
        except UnreadableFileError:
            return CheckResult(False, "the anchor in DATA_DIR cannot be read")
        if contradiction is not None:
            return CheckResult(False, _short(contradiction))
        unrecorded = "; not recorded outside the database: DATA_DIR cannot be written" if self._unwritable else ""
        return CheckResult(True, f"at position {now.position}{unrecorded}")

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self.record)
            await asyncio.sleep(TICK_S)

    def _known(self) -> Mapping[str, Anchor]:
        """Return the last state that is known: of the file where somebody else wrote it, of memory otherwise."""
        on_file = self._file.read()
        if on_file != self._on_file:
            self._on_file = on_file
            self._seen = {**self._seen, **on_file}
        return self._seen

    def _write(self, anchor: Anchor) -> None:
        try:
            self._file.write(anchor)
        except OSError:
            if not self._unwritable:
                _log.warning("DATA_DIR cannot be written: the end of the log is not recorded outside the database")
            self._unwritable = True
        else:
            self._on_file, self._unwritable = {**self._on_file, anchor.ledger_id: anchor}, False

    def _note(self, fault: str) -> None:
        if fault and fault != self._fault:
            _log.error("%s", fault)
        self._fault = fault


def _short(found: Contradiction) -> str:
    """Say what was found in words for anybody."""
    how = "went back" if found.head < found.recorded else "was rewritten"
    return f"{how}: position {found.recorded} was recorded, the end is at {found.head}; an operator has to look"
