"""Follows the log in the background, so that readers of a view find little left to do.

Promises: a failure is logged and tried again at the next tick; what stopped the view is shown until it moves again.
Nothing depends on it: every read of the view catches up by itself.
"""

import asyncio
import contextlib
import logging

from api.front.services import CheckResult
from domain.errors import ServiceError
from projections.catch_up import CatchUp

TICK_S = 1.0
"""Seconds between two looks at the log."""

_log = logging.getLogger("keyledger.projections")


class BackgroundCatchUp:
    """A task on the event loop that keeps one view near the head."""

    def __init__(self, follower: CatchUp, name: str) -> None:
        """name: of the view, for the log."""
        self._follower = follower
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = None

    async def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name=f"catch-up {self._name}")

    async def stop(self) -> None:
        """End after the batch that is being written."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def check(self) -> CheckResult:
        """Return where the view is, or why it stands still. Raises StoreUnavailableError."""
        lag = self._follower.lag()
        where = f"at position {lag.position} of {lag.head}"
        if self._fault is not None:
            return CheckResult(False, f"stopped {where}: {self._fault}")
        return CheckResult(True, where)

    async def _run(self) -> None:
        while True:
            await self._follow()
            await asyncio.sleep(TICK_S)

    async def _follow(self) -> None:
        try:
            await asyncio.to_thread(self._follower.run)
        except Exception as fault:  # noqa: BLE001  whatever it is, it must be shown and tried again, not end the task
            if self._fault is None:
                _log.error("view %s stands still: %s", self._name, type(fault).__name__)
            self._fault = fault.detail if isinstance(fault, ServiceError) else "an unexpected fault; see the log"
        else:
            self._fault = None
