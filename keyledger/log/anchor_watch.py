"""Checks that the log only grows, and keeps the anchor outside the database near the head of the log.

Promises: the anchor records an event about a second after its commit, and the last one at an orderly shutdown. If the
log goes backwards or is rewritten while a service runs, the service stops being ready. While the log contradicts the
anchor, the anchor is not changed: only an operator can renew it.
If DATA_DIR cannot be written, the watch continues in memory while the process lives, and readiness reports it.
"""

import asyncio
import logging
from collections.abc import Mapping

from psycopg_pool import ConnectionPool

from api.front.services import CheckResult
from domain.errors import ServiceError
from keyledger.log.anchor import Anchor, AnchorFile, Contradiction, look
from keyledger.log.durable_file import UnreadableFileError
from keyledger.log.periodic_task import PeriodicTask
from projections.database.connections import BoundedConnection

TICK_S = 1.0
"""Seconds between two checks of the log."""

_log = logging.getLogger("keyledger.store")


class AnchorWatch:
    """Compares the log with its anchor, in a task on the event loop."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], file: AnchorFile) -> None:
        self._pool = pool
        self._file = file
        self._on_file: Mapping[str, Anchor] = {}
        self._seen: Mapping[str, Anchor] = {}
        self._unwritable = False
        self._error = ""
        self._task = PeriodicTask(self.record, TICK_S, "watch of the log")

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and record what was appended since the last check."""
        await self._task.stop()
        await asyncio.to_thread(self.record)

    def record(self) -> None:
        """Check the log and renew the anchor, unless the two contradict each other. Failures are logged."""
        try:
            now, contradiction = look(self._pool, self._known())
        except ServiceError:
            return  # logged where it occurred; the next check tries again
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

    def _known(self) -> Mapping[str, Anchor]:
        """Return the last known state: from the file if another process wrote it, otherwise from memory."""
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

    def _note(self, error: str) -> None:
        if error and error != self._error:
            _log.error("%s", error)
        self._error = error


def _short(found: Contradiction) -> str:
    """Return the state as text that reveals nothing confidential."""
    how = "went back" if found.head < found.recorded else "was rewritten"
    return f"{how}: position {found.recorded} was recorded, the end is at {found.head}; an operator has to look"
