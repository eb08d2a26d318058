"""Writes that are combined are as separate and as durable as writes one by one."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import pytest

from api.front import combined_writes
from api.front.combined_writes import TOGETHER_MAX, CombinedWrites
from domain.errors import CredentialNotFoundError, StoreUnavailableError
from projections.replay.replaying import compare
from tests.support.store import Store, write_here

WAIT_S = 60


class Gate:
    """Writes numbers; each go waits until it is let pass, so that others gather behind it. Odd ones are refused."""

    def __init__(self) -> None:
        self.goes: list[list[int]] = []
        self.down = False
        self.entered, self._gate = threading.Semaphore(0), threading.Semaphore(0)
        self.combined = CombinedWrites(lambda: self._write)

    def let_pass(self, goes: int = 1) -> None:
        self._gate.release(goes)

    def _write(self, numbers: Sequence[int]) -> Sequence[str | Exception]:
        self.goes.append(list(numbers))
        self.entered.release()
        assert self._gate.acquire(timeout=WAIT_S)
        if self.down:
            raise StoreUnavailableError
        return [
            CredentialNotFoundError(str(number), "openai") if number % 2 else f"wrote {number}" for number in numbers
        ]


class Writers:
    """Tasks of one event loop that write one number each; the first is on its way before the others come."""

    def __init__(self, gate: Gate, *numbers: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.futures: list[Future[str]] = []
        for nth, number in enumerate(numbers):
            self.futures.append(asyncio.run_coroutine_threadsafe(gate.combined.write(number), self.loop))
            if nth == 0:
                assert gate.entered.acquire(timeout=WAIT_S)
            while len(gate.combined._waiting) < nth:
                pass

    def outcomes(self) -> list[object]:
        ended = [future.exception(WAIT_S) or future.result() for future in self.futures]
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        return [type(end) if isinstance(end, BaseException) else end for end in ended]


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_what_gathers_behind_a_write_goes_together_in_the_order_of_its_coming(gate: Gate) -> None:
    writers = Writers(gate, 2, 4, 6, 8)
    gate.let_pass(2)

    assert writers.outcomes() == ["wrote 2", "wrote 4", "wrote 6", "wrote 8"]
    assert gate.goes == [[2], [4, 6, 8]]


def test_each_is_told_of_its_own_refusal(gate: Gate) -> None:
    writers = Writers(gate, 2, 3, 4, 5)
    gate.let_pass(2)

    assert writers.outcomes() == ["wrote 2", CredentialNotFoundError, "wrote 4", CredentialNotFoundError]


def test_no_more_than_so_many_go_together(gate: Gate) -> None:
    writers = Writers(gate, *range(0, 2 * (TOGETHER_MAX + 2), 2))
    gate.let_pass(3)

    assert writers.outcomes() == [f"wrote {number}" for number in range(0, 2 * (TOGETHER_MAX + 2), 2)]
    assert [len(go) for go in gate.goes] == [1, TOGETHER_MAX, 1]


def test_an_outage_ends_everything_that_waits_at_once_and_later_writes_are_tried_again(gate: Gate) -> None:
    writers = Writers(gate, 2, 4, 6)
    gate.down = True
    gate.let_pass()

    assert writers.outcomes() == [StoreUnavailableError] * 3
    assert gate.goes == [[2]]
    gate.down = False
    gate.let_pass()
    assert write_here(gate.combined, 8) == "wrote 8"


def test_a_defect_is_told_to_everybody_it_met_and_ends_nothing() -> None:
    defects = iter([ZeroDivisionError()])

    def write(numbers: Sequence[int]) -> Sequence[int | Exception]:
        if (defect := next(defects, None)) is not None:
            raise defect
        return numbers

    combined = CombinedWrites(lambda: write)
    with pytest.raises(ZeroDivisionError):
        write_here(combined, 1)
    assert write_here(combined, 2) == 2


def test_an_answer_too_few_is_a_defect_and_leaves_nobody_waiting() -> None:
    combined = CombinedWrites[int, int](lambda: lambda _: [])
    with pytest.raises(ValueError, match="shorter"):
        write_here(combined, 1)


def test_who_waits_too_long_gives_up_and_was_not_written(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combined_writes, "PATIENCE", 0.01)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(write_here, gate.combined, 2)
        assert gate.entered.acquire(timeout=WAIT_S)
        late = threads.submit(write_here, gate.combined, 4)
        assert isinstance(late.exception(WAIT_S), StoreUnavailableError)
        assert isinstance(threads.submit(asyncio.run, gate.combined.write(6)).exception(WAIT_S), StoreUnavailableError)
        gate.let_pass()
        assert first.result(WAIT_S) == "wrote 2"
    assert gate.goes == [[2]]


def test_tasks_of_an_event_loop_share_a_go_and_get_their_own_outcomes(gate: Gate) -> None:
    async def scenario() -> list[object]:
        first = asyncio.create_task(gate.combined.write(2))
        await asyncio.to_thread(gate.entered.acquire)
        others = [asyncio.create_task(gate.combined.write(number)) for number in (4, 5)]
        await asyncio.sleep(0)
        gate.let_pass(2)
        return await asyncio.gather(first, *others, return_exceptions=True)

    first, second, third = asyncio.run(scenario())
    assert [first, second, type(third)] == ["wrote 2", "wrote 4", CredentialNotFoundError]
    assert gate.goes == [[2], [4, 5]]


def test_who_stops_waiting_stops_nothing(gate: Gate) -> None:
    """Neither a write that is on its way nor one that waits, and nothing is complained about afterwards."""
    complaints: list[object] = []

    async def scenario() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        under_way = asyncio.create_task(gate.combined.write(2))
        await asyncio.to_thread(gate.entered.acquire)
        waiting, other = (asyncio.create_task(gate.combined.write(number)) for number in (4, 6))
        await asyncio.sleep(0)
        for cut_off in (under_way, waiting):
            cut_off.cancel()
            await asyncio.wait([cut_off])
            assert cut_off.cancelled()
        gate.let_pass(2)
        return await other

    assert asyncio.run(scenario()) == "wrote 6"
    assert gate.goes == [[2], [4, 6]]
    assert complaints == []


def test_a_machine_without_threads_to_spare_is_an_outage_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    combined = CombinedWrites[int, int](lambda: lambda numbers: numbers)
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(StoreUnavailableError):
            write_here(combined, 1)
    assert write_here(combined, 2) == 2


def test_an_error_holds_nothing_of_its_write() -> None:
    class Write:
        """Something that can be watched."""

    def refuse(writes: Sequence[Write]) -> Sequence[int | Exception]:
        return [CredentialNotFoundError("a", "openai") for _ in writes]

    combined = CombinedWrites(lambda: refuse)

    async def refused(write: Write) -> None:
        with pytest.raises(CredentialNotFoundError):
            await combined.write(write)

    def ask() -> "weakref.ref[Write]":
        write = Write()
        asyncio.run(refused(write))
        return weakref.ref(write)

    gc.disable()
    try:
        first, _ = ask(), ask()  # with the second one the thread has dropped the first
        assert first() is None
    finally:
        gc.enable()


def test_many_commands_on_a_real_log_leave_it_whole(store: Store) -> None:
    tenants = [str(UUID(int=number, version=4)) for number in range(1, 9)]

    def change(number: int) -> None:
        store.set(tenants[number % 8], "openai", f"sk-live-{number:08}")

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(change, range(160)))

    assert compare(store.url, "current_credentials").difference_count == 0
    assert len(store.audit(limit=1000)) == 160
    assert {tenant: store.view.read(tenant, "openai").row.version for tenant in tenants} == dict.fromkeys(tenants, 20)  # type: ignore[union-attr]
