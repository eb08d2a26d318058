"""Reads that come while another is under way, made together.

Promises: whoever reads gets what a read found that began after the call did, never an older one, so nothing
acknowledged before is missed; nothing is kept after that. A reader that gives up takes nobody's answer away. When a
group fails, its readers get the error, and so do those that have waited for `patience` by then: an outage is not
queued for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class GroupedReads(Generic[Key, Value]):
    """The reads of one event loop.

    read: reads several keys at once, in their order. patience: in seconds. most: keys in one group.
    """

    def __init__(
        self, read: Callable[[Sequence[Key]], Awaitable[Sequence[Value]]], *, patience: float, most: int = 256
    ) -> None:
        self._read = read
        self._patience = patience
        self._most = most
        self._under_way = False
        self._waiting: list[tuple[Key, asyncio.Future[Value], float]] = []

    async def get(self, key: Key) -> Value:
        """Return the value of `key`. Raises what the read raises."""
        if not self._under_way:
            self._under_way = True
            error: Exception | None = None
            try:
                return (await self._read([key]))[0]
            except Exception as failed:
                error = failed
                raise
            finally:
                self._go_on(error)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Value] = loop.create_future()
        self._waiting.append((key, found, loop.time()))
        return await found

    def _go_on(self, error: Exception | None) -> None:
        """Let those that waited begin, after a read that ended, with `error` if it failed."""
        self._under_way = False
        if error is not None:
            self._fail_the_impatient(error)
        if self._waiting:
            self._under_way = True
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._group = asyncio.create_task(self._read_group(group))  # kept, or it may be collected

    async def _read_group(self, group: Sequence[tuple[Key, "asyncio.Future[Value]", float]]) -> None:
        error: Exception | None = None
        try:
            keys = list(dict.fromkeys(key for key, _, _ in group))
            values = dict(zip(keys, await self._read(keys), strict=True))
            for key, found, _ in group:
                if not found.done():  # its reader gave up
                    found.set_result(values[key])
        except Exception as failed:  # noqa: BLE001  it is the readers' to handle
            error = failed
        finally:
            for _, found, _ in group:
                if not found.done():
                    found.set_exception(error) if error is not None else found.cancel()
            self._go_on(error)

    def _fail_the_impatient(self, error: Exception) -> None:
        latest = asyncio.get_running_loop().time() - self._patience
        for _, found, since in self._waiting:
            if since <= latest and not found.done():
                found.set_exception(error)
        self._waiting = [one for one in self._waiting if not one[1].done()]
