"""Combines concurrent reads from tasks of one event loop into one statement.

A read that arrives while `AT_ONCE` statements are under way waits for one of them to end, and then shares the next with
all other waiting reads. A statement is therefore always sent after each of its readers asked: nothing is cached, and no
answer is older than its question.
Promises: each reader gets its own row or an error, whatever happens to the others. A cancelled reader ends at once and
delays no other. There is no state that a crash could lose.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from domain.errors import StoreUnavailableError

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 2
"""Statements under way at a time: while the client decodes one answer, the server works on the next."""
TOGETHER_MAX = 64
"""Reads in one statement."""


class CombinedReads(Generic[K, V]):
    """Combines reads by key. read_all: returns what is stored for each key, in their order."""

    def __init__(self, read_all: Callable[[Sequence[K]], Awaitable[Sequence[V]]]) -> None:
        self._read_all = read_all
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, key: K) -> V:
        """Return what is stored for `key` now. Raises what `read_all` raises."""
        if self._under_way >= AT_ONCE:
            turn: asyncio.Future[V] = asyncio.get_running_loop().create_future()
            self._waiting.append((key, turn))
            return await turn
        self._under_way += 1
        try:
            (found,) = await self._read_all([key])
        finally:
            self._next()
        return found

    def _next(self) -> None:
        """Start the next statement for the waiting reads, if there are any."""
        together = [(key, turn) for key, turn in self._waiting[:TOGETHER_MAX] if not turn.done()]
        del self._waiting[:TOGETHER_MAX]
        if not together:
            self._under_way -= 1
            return
        task = asyncio.get_running_loop().create_task(self._read_together(together), name="combined read")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_together(self, together: Sequence[tuple[K, "asyncio.Future[V]"]]) -> None:
        try:
            found = await self._read_all([key for key, _ in together])
            for (_, turn), value in zip(together, found, strict=True):
                if not turn.done():
                    turn.set_result(value)
        except StoreUnavailableError:
            for _, turn in together:
                if not turn.done():
                    turn.set_exception(StoreUnavailableError())  # one for each: a traceback belongs to one task
        except Exception as error:  # noqa: BLE001  any error must reach each reader
            for _, turn in together:
                if not turn.done():
                    turn.set_exception(error)
        finally:
            for _, turn in together:
                turn.cancel()  # only when the event loop is shutting down
            self._next()
