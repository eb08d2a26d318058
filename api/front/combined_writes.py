"""Concurrent writes, combined into one batch.

While the one writing thread is busy, further writes queue; it then takes the whole queue as its next batch. The writes
of a batch share statements and one commit, and none needs a thread of its own. Each has its own outcome, reported once
it is certain.
Promises: a write not started within `PATIENCE` seconds fails and has had no effect. An outage fails every queued write,
so that none waits for another time-out; later writes are tried again. Cancelling a waiter does not cancel its write.
A crash loses no acknowledged write; an unacknowledged one may or may not have happened.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from domain.errors import StoreUnavailableError

W = TypeVar("W")
R = TypeVar("R")

PATIENCE = 1.0
"""Seconds that a write waits for its turn."""
TOGETHER_MAX = 64
"""The most writes in one batch; a larger one would make others wait too long for the log's lock."""


class CombinedWrites(Generic[W, R]):
    """Combines writes.

    writer: returns the function that makes writes, looked up for each batch. The function takes writes in their order
    and returns the result or the error of each; an error that it raises is the outcome of all of them. obeyed: waits
    until every node obeys what was written before; a write is answered after it.
    """

    def __init__(
        self,
        writer: Callable[[], Callable[[Sequence[W]], Sequence[R | Exception]]],
        obeyed: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._writer = writer
        self._obeyed = obeyed
        self._lock = threading.Lock()
        self._waiting: list[tuple[W, Future[R]]] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="combined-writes")

    async def write(self, one: W) -> R:
        """Make a write from the event loop. Raises its error, StoreUnavailableError."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def tell(_: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_wake, told)

        future = self._asked(one)
        future.add_done_callback(tell)
        impatience = loop.call_later(PATIENCE, future.cancel)  # has no effect once the write has started
        try:
            await told
            if future.cancelled():
                raise StoreUnavailableError
            result = future.result()
            if self._obeyed is not None:
                await self._obeyed()
            return result
        finally:
            impatience.cancel()
            del future  # otherwise an error and this frame, which holds the command, would keep each other alive

    def _asked(self, one: W) -> Future[R]:
        future: Future[R] = Future()
        with self._lock:
            self._waiting.append((one, future))
            if not self._busy:
                try:
                    self._thread.submit(self._write_what_waits)
                except RuntimeError:  # the machine cannot start a thread now
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
        """Return the next batch, without writes that gave up; empty when none is left."""
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
            return [outcome for _, outcome in zip(together, self._writer()(together), strict=True)]
        except StoreUnavailableError:
            return [StoreUnavailableError() for _ in together]  # one per caller: raising it adds to its traceback
        except BaseException as error:  # noqa: BLE001  every waiting caller needs an outcome
            defect = error if isinstance(error, Exception) else RuntimeError(f"ended by {type(error).__name__}")
            return [defect for _ in together]

    def _end_what_waits(self) -> None:
        with self._lock:
            ended, self._waiting = self._waiting, []
        for _, future in ended:
            if future.set_running_or_notify_cancel():
                future.set_exception(StoreUnavailableError())


def _wake(told: "asyncio.Future[None]") -> None:
    if not told.done():  # its task may have been cancelled with its connection
        told.set_result(None)
