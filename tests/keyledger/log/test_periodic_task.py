"""Work that repeats in the background: when it runs, and that nothing runs after its end."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from domain.errors import StoreUnavailableError
from keyledger.log.periodic_task import PeriodicTask, run_or_log


class Work:
    """Counts its runs, and says when there were enough."""

    def __init__(self, enough: int) -> None:
        self.runs = 0
        self.threads: set[int] = set()
        self.enough = threading.Event()
        self._enough = enough

    def __call__(self) -> None:
        self.runs += 1
        self.threads.add(threading.get_ident())
        if self.runs >= self._enough:
            self.enough.set()


def test_it_runs_again_and_again_and_never_on_the_event_loop():
    work = Work(enough=3)

    async def run() -> None:
        task = PeriodicTask(work, 0, "a test")
        task.start()
        assert await asyncio.to_thread(work.enough.wait, 60)
        await task.stop()

    asyncio.run(run())
    assert work.runs >= 3
    assert threading.get_ident() not in work.threads


def test_a_run_that_fails_in_whatever_way_is_logged_once_and_not_the_last(caplog: pytest.LogCaptureFixture):
    """Else one answer that the driver cannot read would end a watch of the log for good, and nothing would say so."""
    work = Work(enough=4)

    def fails_twice() -> None:
        work()
        if work.runs <= 2:
            raise NotImplementedError("sk-a-key-in-its-text")

    async def run() -> None:
        task = PeriodicTask(fails_twice, 0, "a test")
        task.start()
        assert await asyncio.to_thread(work.enough.wait, 60)
        await task.stop()

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "a test failed and is tried again: NotImplementedError"
    ]


def test_a_pause_may_come_first():
    work = Work(enough=1)

    async def run() -> None:
        task = PeriodicTask(work, 3600, "a test", pause_first=True)
        task.start()
        await asyncio.sleep(0)
        await task.stop()

    asyncio.run(run())
    assert work.runs == 0


def test_stopping_what_was_not_started_does_nothing():
    work = Work(enough=1)
    asyncio.run(PeriodicTask(work, 0, "a test").stop())
    assert work.runs == 0


def _outage() -> None:
    raise StoreUnavailableError


def _fault() -> None:
    raise KeyError("sk-a-key-in-its-text")


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (_outage, ("WARNING", "nothing was stored yet: store-unavailable")),
        (_fault, ("ERROR", "nothing was stored: KeyError")),
    ],
    ids=["an outage", "a fault, without its text"],
)
def test_an_error_is_logged_and_does_not_leave(
    work: Callable[[], None], line: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    run_or_log(work, logging.getLogger("keyledger.test"), "nothing was stored")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [line]
