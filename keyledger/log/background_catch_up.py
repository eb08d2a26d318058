"""Keeps a projection near the head of the log in the background, so that readers have little left to catch up.

Promises: a failure is logged and tried again at the next tick. What stops the projection is reported until it moves
again. Nothing depends on this task: every read of the projection catches up first.
"""

import logging

from api.front.check_result import CheckResult
from domain.errors import ServiceError
from keyledger.log.periodic_task import PeriodicTask
from projections.catch_up import CatchUp

TICK_S = 1.0
"""Seconds between two catch-ups."""

_log = logging.getLogger("keyledger.projections")


class BackgroundCatchUp:
    """A task on the event loop that keeps one projection near the head of the log."""

    def __init__(self, follower: CatchUp, name: str) -> None:
        """name: of the projection, for the log."""
        self._follower = follower
        self._name = name
        self._task = PeriodicTask(self._follow, TICK_S, f"catch-up {name}")
        self._error: str | None = None

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task. A batch that is being written is completed."""
        await self._task.stop()

    def check(self) -> CheckResult:
        """Return the position of the projection, or what stops it. Raises StoreUnavailableError."""
        lag = self._follower.lag()
        where = f"at position {lag.position} of {lag.head}"
        if self._error is not None:
            return CheckResult(False, f"stopped {where}: {self._error}")
        return CheckResult(True, where)

    def _follow(self) -> None:
        try:
            self._follower.run()
        except Exception as error:  # noqa: BLE001  any error must be reported and tried again, not end the task
            if self._error is None:
                _log.error("projection %s is stopped: %s", self._name, type(error).__name__)
            self._error = error.detail if isinstance(error, ServiceError) else "an unexpected error; see the log"
        else:
            self._error = None
