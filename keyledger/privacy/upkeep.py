"""Keeps erasures in force while a service runs: applies those of other nodes and of backups, and those due by time.

Promises: a failure is logged and tried again at the next run.
"""

import logging
from collections.abc import Callable

from domain.events.event import CommandMeta
from keyledger.log.durable_file import UnreadableFileError
from keyledger.log.periodic_task import PeriodicTask, run_or_log
from keyledger.privacy.erasure import Eraser
from keyledger.start_error import StartError

PAUSE_S = 60.0

_log = logging.getLogger("keyledger.privacy")


class PrivacyUpkeep:
    """A task on the event loop."""

    def __init__(self, eraser: Eraser, days: Callable[[], int], meta: Callable[[], CommandMeta]) -> None:
        """days: AUDIT_PERSONAL_DATA_DAYS as it is in force; 0 keeps keys for ever. meta: the service."""
        self._eraser = eraser
        self._days = days
        self._meta = meta
        self._task = PeriodicTask(self._run_or_log, PAUSE_S, "privacy", pause_first=True)

    def run(self) -> None:
        """Bring everything in order once. Raises StartError, StoreUnavailableError."""
        try:
            self._eraser.settle(self._meta)
        except (UnreadableFileError, OSError):
            raise StartError(
                "the file `erasures` in DATA_DIR cannot be read or written. It lists who was erased, so that a restored"
                " backup brings no one back: restore the file or make it accessible"
            ) from None
        if days := self._days():
            self._eraser.expire(days, self._meta)

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task."""
        await self._task.stop()

    def _run_or_log(self) -> None:
        run_or_log(self.run, _log, "erasures could not be brought in order")
