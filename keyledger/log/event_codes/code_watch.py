"""Checks the code of every new event, and keeps a node from vouching for one that no holder of a key wrote.

Promises: each event is checked once by each node, before the node signs a checkpoint that covers it, and after that by
`WholeLog` again and again. The first forged event is named by its position, turns the node not ready, and is logged
once; the watch stays before it until an operator accepts it (`keyledger restore accept`) or the log no longer holds it.
Events before the position at which the watch begins were checked by the process before.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from psycopg_pool import ConnectionPool

from api.front.check_result import CheckResult
from domain.errors import CredentialIntegrityError, ServiceError
from domain.events.event_code import EventCodes, LogRow, require_code
from keyledger.log.event_codes.attestation import require_codes
from keyledger.log.event_codes.whole_log import WholeLog
from keyledger.log.periodic_task import PeriodicTask
from projections.catch_up import END
from projections.database.connections import BoundedConnection, unavailable

TICK_S = 1.0
"""Seconds between two checks."""

_log = logging.getLogger("keyledger.audit")


class CodeWatch:
    """Follows the log in a task on the event loop."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        codes: Callable[[], EventCodes],
        begin: Callable[[], int],
        restored: Callable[[LogRow], None] = lambda row: None,
    ) -> None:
        """begin: returns the position after which the watch begins; asked before anything else vouches for the log.

        restored: called with each new acceptance of a restore, so that `codes` knows it from then on.
        """
        self._pool = pool
        self._codes = codes
        self._begin = begin
        self._restored = restored
        self._checked: int | None = None
        self._error = ""
        self._checking = threading.Lock()
        self._whole = WholeLog(pool)
        self._task = PeriodicTask(self.follow_and_compare, TICK_S, "check of event codes")

    async def start(self) -> None:
        """Start the task on the running event loop, from where the last process vouched for the log."""
        with self._checking:
            self._checked = self._begin()
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and check what was appended since."""
        await self._task.stop()
        await asyncio.to_thread(self._follow)

    def require(self, upto: int = END) -> None:
        """Check the events up to a position. Raises CredentialIntegrityError that names the first forged one."""
        with self._checking, unavailable(), self._pool.connection() as connection:
            if self._checked is None:
                self._checked = self._begin()
            try:
                self._checked = require_codes(connection, self._codes(), self._checked, upto, self._restored)
            except CredentialIntegrityError as forged:
                self._note(forged.reason)
                raise
            self._note(self._whole.error)
            if self._error:
                raise CredentialIntegrityError(self._error)

    def require_one(self, row: LogRow) -> None:
        """Check one event, such as one that goes into evidence. Raises CredentialIntegrityError if it is forged."""
        require_code(row, self._codes())

    def check(self) -> CheckResult:
        """Report whether every new event was written by a holder of the keys."""
        self._follow()
        if self._error:
            return CheckResult(False, f"{self._error}: the log is not as the holders of its keys wrote it")
        codes = self._codes()
        return CheckResult(True, "checked" if codes.key_ids else "not checked: no key is configured")

    def follow_and_compare(self) -> None:
        """Check the new events, and compare the next page of the whole log."""
        self._follow()
        with suppress(ServiceError):  # logged where it occurred; the next step tries again
            self._whole.step(self._codes())

    def _follow(self) -> None:
        try:
            self.require()
        except CredentialIntegrityError:
            return  # noted
        except ServiceError:
            return  # logged where it occurred; the next check tries again

    def _note(self, error: str) -> None:
        if error and error != self._error:
            _log.error("%s: the log is not as the holders of its keys wrote it", error)
        self._error = error
