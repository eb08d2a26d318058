"""Reads that are combined are as fresh and as separate as reads one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from domain.errors import StoreUnavailableError
from projections.database.combined_reads import AT_ONCE, TOGETHER_MAX, CombinedReads
from projections.database.numbered import Statement
from projections.database.pipeline import Rows, Told

STATEMENT = Statement("values", "SELECT %s")


class Store:
    """A pipeline that answers a statement when asked to, with what it held when the statement was sent."""

    def __init__(self) -> None:
        self.value = "old"
        self.lost = False
        self.error: Exception | None = None
        self.statements: list[list[int]] = []
        self._answers: list[Callable[[], None]] = []
        self.reads = CombinedReads[int, str](self, self._ask, self._values)

    def send(self, statement: Statement, parameters: Sequence[bytes], told: Told) -> None:
        keys, seen = [int(one) for one in parameters], self.value
        self.statements.append(keys)
        self._answers.append(lambda: told(None if self.lost else Rows([(f"{key} {seen}",) for key in keys])))

    def _ask(self, keys: Sequence[int]) -> tuple[Statement, Sequence[bytes]]:
        return STATEMENT, [str(key).encode() for key in keys]

    def _values(self, keys: Sequence[int], rows: Rows) -> Sequence[str]:
        if self.error is not None:
            raise self.error
        return [value for (value,) in rows]

    async def answer_next(self) -> None:
        await _settled()
        self._answers.pop(0)()
        await _settled()


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _within_a_loop(scenario: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Store())

    asyncio.run(run())


async def _busy(store: Store) -> list[asyncio.Task[str]]:
    tasks = []
    for nth in range(AT_ONCE):
        tasks.append(asyncio.create_task(store.reads.read(nth)))
        await _settled()
    return tasks


def test_reads_that_wait_go_together_and_each_gets_its_own() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in (7, 8, 7)]
        for _ in range(AT_ONCE + 1):
            await store.answer_next()
        assert store.statements == [*([nth] for nth in range(AT_ONCE)), [7, 8, 7]]
        assert await asyncio.gather(*waiting) == ["7 old", "8 old", "7 old"]
        assert await asyncio.gather(*first) == [f"{nth} old" for nth in range(AT_ONCE)]

    _within_a_loop(scenario)


def test_reads_of_one_turn_of_the_loop_share_the_second_statement() -> None:
    async def scenario(store: Store) -> None:
        reads = [asyncio.create_task(store.reads.read(nth)) for nth in range(5)]
        await _settled()
        assert store.statements == [[0], [1, 2, 3, 4]]
        await store.answer_next()
        await store.answer_next()
        assert await asyncio.gather(*reads) == [f"{nth} old" for nth in range(5)]

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


@pytest.mark.parametrize("error", [None, StoreUnavailableError(), RuntimeError("foreseen by no one")])
def test_a_fault_reaches_everybody_who_waited_and_nobody_after(error: Exception | None) -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in (7, 8)]
        for _ in first:
            await store.answer_next()
        store.error, store.lost = error, error is None
        await store.answer_next()
        expected = type(error or StoreUnavailableError())
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [expected] * 2
        store.error, store.lost = None, False
        again = asyncio.create_task(store.reads.read(1))
        await store.answer_next()
        assert await again == "1 old"
        await asyncio.gather(*first, return_exceptions=True)

    _within_a_loop(scenario)


def test_an_answer_with_too_few_rows_reaches_no_reader() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in (7, 8)]
        for _ in first:
            await store.answer_next()
        store._values = lambda keys, rows: ["7 old"]  # type: ignore[method-assign]
        store.reads._values = store._values
        await store.answer_next()
        for one in waiting:
            with pytest.raises(StoreUnavailableError):
                await one
        await asyncio.gather(*first)

    _within_a_loop(scenario)


def test_a_reader_that_is_cancelled_holds_up_nobody() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        gone, stays = (asyncio.create_task(store.reads.read(nth)) for nth in (7, 8))
        await _settled()
        gone.cancel()
        first[0].cancel()
        await _settled()
        while not stays.done():
            await store.answer_next()
        assert store.statements[-1] == [8]
        assert await stays == "8 old"
        assert first[0].cancelled()

    _within_a_loop(scenario)


def test_readers_that_left_in_crowds_hold_up_nobody() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        crowd = [asyncio.create_task(store.reads.read(7)) for _ in range(AT_ONCE * TOGETHER_MAX)]
        stays = asyncio.create_task(store.reads.read(8))
        await _settled()
        for one in crowd:
            one.cancel()
        for _ in range(AT_ONCE + 1):
            await store.answer_next()
        assert await asyncio.wait_for(stays, 1) == "8 old"
        assert await asyncio.gather(*first) == [f"{nth} old" for nth in range(AT_ONCE)]

    _within_a_loop(scenario)


def test_no_statement_grows_without_bound() -> None:
    async def scenario(store: Store) -> None:
        first = await _busy(store)
        waiting = [asyncio.create_task(store.reads.read(nth)) for nth in range(2 * TOGETHER_MAX + 1)]
        await _settled()
        while not all(task.done() for task in waiting):
            await store.answer_next()
        assert max(map(len, store.statements)) == TOGETHER_MAX
        assert await asyncio.gather(*waiting) == [f"{nth} old" for nth in range(2 * TOGETHER_MAX + 1)]
        await asyncio.gather(*first)

    _within_a_loop(scenario)
