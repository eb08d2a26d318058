"""Writes that are asked for at the same time, made in one go.

While the one thread that writes is busy, others gather; it then takes all of them along. So they share its statements
and its commit, and none of them costs a thread of its own. Each has its own outcome and is told once that is certain.
Promises: who waits for longer than `PATIENCE` seconds to be taken along gives up, and nothing of it was written. An
outage ends everything that waits, so that none of it waits for another one; whoever comes later is tried again. Who
stops waiting stops nothing. It keeps no state that a crash could lose: what was not acknowledged may or may not have
happened, as ever.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from domain.errors import StoreUnavailableError
from projections.database.connections import DEADLINE

W = TypeVar("W")
R = TypeVar("R")

PATIENCE = DEADLINE
TOGETHER_MAX = 64
"""Writes in one go: far less than a moment for those who wait for the lock of the log meanwhile."""


class CombinedWrites(Generic[W, R]):
    """Combines writes.

    write_all: makes writes in their order and returns what became of each, its result or its error. It may raise what
    became of all of them.
    """

    def __init__(self, write_all: Callable[[Sequence[W]], Sequence[R | Exception]]) -> None:
        self._write_all = write_all
        self._lock = threading.Lock()
        self._waiting: list[tuple[W, Future[R]]] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="combined-writes")

    async def write(self, one: W) -> R:
        """Make a write from the event loop. Raises its error, StoreUnavailableError."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def tell(_: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop ended first
                loop.call_soon_threadsafe(_wake, told)

        future = self._asked(one)
        future.add_done_callback(tell)
        impatience = loop.call_later(PATIENCE, future.cancel)  # does nothing to what is on its way
        try:
            await told
            if future.cancelled():
                raise StoreUnavailableError
            return future.result()
        finally:
            impatience.cancel()
            del future  # else an error and this frame, which has the command, would hold each other

    def _asked(self, one: W) -> Future[R]:
        future: Future[R] = Future()
        with self._lock:
            self._waiting.append((one, future))
            if not self._busy:
                try:
                    self._thread.submit(self._write_what_waits)
                except RuntimeError:  # the machine gives no thread now
                    self._waiting.clear()
                    raise StoreUnavailableError from None
                self._busy = True
        return future

    def _write_what_waits(self) -> None:
        while together := self._taken():
            outcomes = self._outcomes([one for one, _ in together])
            if any(isinstance(outcome, StoreUnavailableError) for outcome in outcomes):
                self._end_what_waits()
            for (_, future), outcome in zip(together, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _taken(self) -> list[tuple[W, Future[R]]]:
        """Return the next that go together, without those that gave up. Nothing: there is nobody left."""
        with self._lock:
            while self._waiting:
                first, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
                taken = [(one, future) for one, future in first if future.set_running_or_notify_cancel()]
                if taken:
                    return taken
            self._busy = False
            return []

    def _outcomes(self, together: Sequence[W]) -> Sequence[R | Exception]:
        try:
            return [outcome for _, outcome in zip(together, self._write_all(together), strict=True)]
        except StoreUnavailableError:
            return [StoreUnavailableError() for _ in together]  # one for each: a traceback belongs to one caller
        except BaseException as fault:  # noqa: BLE001  whatever it is, everybody has to be told
            defect = fault if isinstance(fault, Exception) else RuntimeError(f"ended by {type(fault).__name__}")
            return [defect for _ in together]

    def _end_what_waits(self) -> None:
        with self._lock:
            ended, self._waiting = self._waiting, []
        for _, future in ended:
            if future.set_running_or_notify_cancel():
                future.set_exception(StoreUnavailableError())


def _wake(told: "asyncio.Future[None]") -> None:
    if not told.done():  # its task may have been cut off with its connection
        told.set_result(None)
