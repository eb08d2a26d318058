"""Work that repeats in the background of a running service, in a thread, so that it never holds up the event loop.

Promises: one run at a time, and the same pause between the end of one and the start of the next.
A run that fails is logged, once until one succeeds, and the next one comes after the same pause. So no answer of a
database ends a watch for good.
Limits: a run in progress when the task is stopped ends in its thread.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from domain.errors import ServiceError

_log = logging.getLogger("keyledger")


class PeriodicTask:
    """Runs `work` again and again between `start` and `stop`."""

    def __init__(self, work: Callable[[], None], seconds: float, name: str, *, pause_first: bool = False) -> None:
        """seconds: of a pause. name: of the task. pause_first: begin with a pause, not with a run."""
        self._work = work
        self._seconds = seconds
        self._name = name
        self._pause_first = pause_first
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        """Start the task on the running event loop."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End the task. Does nothing if it was not started."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        if self._pause_first:
            await asyncio.sleep(self._seconds)
        while True:
            await asyncio.to_thread(self._run_once)
            await asyncio.sleep(self._seconds)

    def _run_once(self) -> None:
        try:
            self._work()
            self._failing = False
        except Exception as error:  # noqa: BLE001  a watch that ended would never find anything again
            if not self._failing:
                _log.error("%s failed and is tried again: %s", self._name, type(error).__name__)
            self._failing = True


def run_or_log(work: Callable[[], None], log: logging.Logger, failure: str) -> None:
    """Run `work`, and log an error instead of raising it: a warning where the next run may succeed.

    failure: what did not happen, such as "what was counted could not be stored".
    """
    try:
        work()
    except ServiceError as error:
        log.warning("%s yet: %s", failure, error.code)
    except Exception as error:  # noqa: BLE001  the task must continue; what `work` did not do is kept for its next run
        log.error("%s: %s", failure, type(error).__name__)
