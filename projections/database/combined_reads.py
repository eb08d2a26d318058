"""Combines concurrent reads from tasks of one event loop into one statement.

A read that arrives while a statement is being gathered, or while `AT_ONCE` statements are under way, shares the next
one with all other waiting reads. A statement is therefore always sent after each of its readers asked: nothing is
cached, and no answer is older than its question.
Promises: each reader gets its own row or an error, whatever happens to the others. A cancelled reader ends at once and
delays no other. There is no state that a crash could lose.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from domain.errors import StoreUnavailableError
from projections.database.numbered import Statement
from projections.database.pipeline import Rows, Told

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 2
"""Statements under way at a time: while the client decodes one answer, the server works on the next."""
TOGETHER_MAX = 64
"""Reads in one statement."""


class Sends(Protocol):
    """Sends statements; see `projections.database.pipeline.Pipeline`."""

    def send(self, statement: Statement, parameters: Sequence[bytes], told: Told) -> None:
        """Send a statement, and call `told` with its rows in a later turn of the event loop."""
        ...


class CombinedReads(Generic[K, V]):
    """Combines reads by key."""

    def __init__(
        self,
        pipeline: Sends,
        ask: Callable[[Sequence[K]], tuple[Statement, Sequence[bytes]]],
        values: Callable[[Sequence[K], Rows], Sequence[V]],
    ) -> None:
        """ask: returns the statement for some keys, with its parameters. values: what it found, by key, in order."""
        self._pipeline = pipeline
        self._ask = ask
        self._values = values
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._under_way = 0
        self._gathering = False

    async def read(self, key: K) -> V:
        """Return what is stored for `key` now. Raises StoreUnavailableError, and what `values` raises."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[V] = loop.create_future()
        self._waiting.append((key, turn))
        if not self._under_way:
            self._send()
        elif self._under_way < AT_ONCE and not self._gathering:
            self._gathering = True
            loop.call_soon(self._gathered)  # with what else this turn of the loop brings
        return await turn

    def _gathered(self) -> None:
        self._gathering = False
        if self._under_way < AT_ONCE:
            self._send()

    def _send(self) -> None:
        """Send a statement for the reads that wait, if any of them is still wanted."""
        while self._waiting and not self._sent():
            pass

    def _sent(self) -> bool:
        """Send a statement for the reads that wait longest, and say whether it was sent."""
        together = [(key, turn) for key, turn in self._waiting[:TOGETHER_MAX] if not turn.done()]
        del self._waiting[:TOGETHER_MAX]
        if not together:
            return False
        keys = [key for key, _ in together]

        def told(rows: Rows | None) -> None:
            self._under_way -= 1
            self._tell(together, keys, rows)
            self._send()

        self._under_way += 1
        try:
            self._pipeline.send(*self._ask(keys), told)
        except Exception as error:  # noqa: BLE001  any error must reach each reader
            self._under_way -= 1
            _fail(together, error)
            return False
        return True

    def _tell(self, together: "list[tuple[K, asyncio.Future[V]]]", keys: list[K], rows: Rows | None) -> None:
        try:
            found = self._values(keys, rows) if rows is not None else ()
        except Exception as error:  # noqa: BLE001  any error must reach each reader
            _fail(together, error)
            return
        if rows is None or len(found) != len(together):
            _fail(together, StoreUnavailableError())
            return
        for (_, turn), value in zip(together, found, strict=True):
            if not turn.done():
                turn.set_result(value)


def _fail(together: "list[tuple[K, asyncio.Future[V]]]", error: Exception) -> None:
    """Give each reader an error; one for each where it is of the store, because a traceback belongs to one task."""
    for _, turn in together:
        if not turn.done():
            turn.set_exception(StoreUnavailableError() if isinstance(error, StoreUnavailableError) else error)
