"""Reads that are combined are as fresh and as separate as reads one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from domain.errors import StoreUnavailableError
from projections.database.combined_reads import AT_ONCE, TOGETHER_MAX, CombinedReads


class Store:
    """Answers a statement when asked to, with what it holds at that moment."""

    def __init__(self) -> None:
        self.value = "old"
        self.error: Exception | None = None
        self.statements: list[Sequence[int]] = []
        self._gates: list[asyncio.Event] = []
        self.reads = CombinedReads(self._read_all)

    async def _read_all(self, keys: Sequence[int]) -> Sequence[str]:
        self.statements.append(keys)
        seen, gate = self.value, asyncio.Event()  # what a statement sees is settled when it begins
        self._gates.append(gate)
        await gate.wait()
        if self.error is not None:
            raise self.error
        return [f"{key} {seen}" for key in keys]

    async def answer_next(self) -> None:
        await _settled()
        self._gates.pop(0).set()
        await _settled()


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _within_a_loop(scenario: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Store())

    asyncio.run(run())


async def _busy(store: Store) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(store.reads.read(nth)) for nth in range(AT_ONCE)]
    await _settled()
    return tasks


def test_reads_that_wait_go_together_and_each_gets_its_own() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in (7, 8, 7)]
        await store.answer_next()
        await store.answer_next()
        await store.answer_next()
        assert store.statements == [*([nth] for nth in range(AT_ONCE)), [7, 8, 7]]
        assert await asyncio.gather(*waiting) == ["7 old", "8 old", "7 old"]
        assert await asyncio.gather(*first) == [f"{nth} old" for nth in range(AT_ONCE)]

    _within_a_loop(scenario)


def test_a_read_that_begins_after_a_write_returned_sees_it_however_many_reads_are_under_way() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        store.value = "new"
        late = asyncio.create_task(store.reads.read(9))
        for _ in range(AT_ONCE + 1):
            await store.answer_next()
        assert await late == "9 new"
        assert await asyncio.gather(*first) == [f"{nth} old" for nth in range(AT_ONCE)]

    _within_a_loop(scenario)


@pytest.mark.parametrize("error", [StoreUnavailableError(), RuntimeError("foreseen by no one")])
def test_a_fault_reaches_everybody_who_waited_and_nobody_after(error: Exception) -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in (7, 8)]
        for _ in first:
            await store.answer_next()
        store.error = error
        await store.answer_next()
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [type(error)] * 2
        store.error = None
        again = asyncio.create_task(store.reads.read(1))
        await store.answer_next()
        assert await again == "1 old"
        await asyncio.gather(*first, return_exceptions=True)

    _within_a_loop(scenario)


def test_a_reader_that_is_cancelled_holds_up_nobody() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        gone, stays = (asyncio.create_task(store.reads.read(nth)) for nth in (7, 8))
        await _settled()
        gone.cancel()
        first[0].cancel()
        await _settled()
        assert store.statements[-1] == [8]
        while not stays.done():
            await store.answer_next()
        assert await stays == "8 old"

    _within_a_loop(scenario)


def test_no_statement_grows_without_bound() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in range(2 * TOGETHER_MAX + 1)]
        while not all(task.done() for task in waiting):
            await store.answer_next()
        assert max(map(len, store.statements)) == TOGETHER_MAX
        assert await asyncio.gather(*waiting) == [f"{nth} old" for nth in range(2 * TOGETHER_MAX + 1)]
        await asyncio.gather(*first)

    _within_a_loop(scenario)
