"""The parent of several processes: what it forks, when, and what each end of one of them leads to.

Each test runs a parent as a process of its own. What it forks serves nothing, but says what happens to it.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from keyledger.serving.children import Child
from keyledger.serving.supervisor import LONGEST_PAUSE_S, SILENT_S, Supervisor
from keyledger.serving.worker_slots import WorkerSlots
from keyledger.start_error import StartError
from tests.support.places import REPOSITORY

PROGRAM = """
import os, signal, sys, time
from keyledger.serving import supervisor
from keyledger.serving.supervisor import Supervisor
from keyledger.serving.worker_slots import WorkerSlots

mode, slots = sys.argv[1], WorkerSlots(4)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def serve(slot, early, started, lifeline):
    signal.alarm(100)  # whatever becomes of the test
    if mode == "refused":
        raise ValueError("the first one")
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    before = slots.read(slot)
    slots.write(slot, b"written")
    say("early" if early else "forked", slot, os.getpid(), before.text.decode() if before else "-")
    if mode == "silent" and not before:
        slots.beat(slot, 0.001)
    os.write(started, b"100\\n")
    while True:
        number = signal.sigwait({signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1})
        say(signal.Signals(number).name, slot)
        if number == signal.SIGTERM and mode == "deaf":
            continue
        if number != signal.SIGHUP:
            return

def load():
    say("loading")
    if mode == "broken":
        raise ImportError("a text that may hold anything")
    if mode == "slow":
        time.sleep(60)

def ending(error):
    say("ended by", error)
    return 4

try:
    Supervisor(
        serve, slots, ending=ending, workers=lambda admitted: 2 if admitted == 100 else 1,
        load=load if mode in {"early", "broken", "slow"} else None, serving=lambda count: say("serving", count),
    ).run()
except KeyboardInterrupt:
    say("interrupted")
"""


class Parent:
    def __init__(self, mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, mode],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout

    def lines(self, count: int) -> list[str]:
        return [self.said.readline().strip() for _ in range(count)]

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it said since, without the process ids."""
        rest, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return self.process.returncode, rest


@contextmanager
def parent(mode: str) -> Iterator[Parent]:
    one = Parent(mode)
    try:
        yield one
    finally:
        one.process.kill()
        for stream in (one.process.stdout, one.process.stderr):
            assert stream is not None
            stream.close()
        one.process.wait()


def slots_of(lines: list[str]) -> set[str]:
    return {" ".join(line.split()[:2]) for line in lines}


def pid_in(line: str) -> int:
    return int(line.split()[2])


def test_the_first_serves_before_the_others_are_forked_and_all_end_on_sigterm() -> None:
    with parent("plain") as one:
        first, serving, second = one.lines(3)
        assert (slots_of([first]), serving, slots_of([second])) == ({"forked 0"}, "serving 2", {"forked 1"})
        one.process.send_signal(signal.SIGHUP)
        assert set(one.lines(2)) == {"SIGHUP 0", "SIGHUP 1"}
        one.process.terminate()
        assert set(one.lines(2)) == {"SIGTERM 0", "SIGTERM 1"}
        assert one.end() == (0, "")


def test_the_early_one_retires_when_those_that_were_forked_after_the_loading_serve() -> None:
    with parent("early") as one:
        begun, forked, retires = one.lines(3), one.lines(2), one.lines(1)
        assert begun[0].startswith("early 0")
        assert begun[1:] == ["serving 2", "loading"]
        assert slots_of(forked) == {"forked 1", "forked 2"}
        assert retires == ["SIGUSR1 0"]
        one.process.terminate()
        assert set(one.lines(2)) == {"SIGTERM 1", "SIGTERM 2"}
        assert one.end() == (0, "")


def test_a_library_that_does_not_load_keeps_no_process_from_being_forked() -> None:
    with parent("broken") as one:
        assert slots_of(one.lines(6)[3:5]) == {"forked 1", "forked 2"}
        one.process.terminate()
        one.process.wait()


@pytest.mark.parametrize(("number", "code", "last"), [(signal.SIGTERM, 0, ""), (signal.SIGINT, 0, "interrupted\n")])
def test_a_signal_ends_all_in_order_while_the_library_is_loaded(number: int, code: int, last: str) -> None:
    with parent("slow") as one:
        assert one.lines(3)[2] == "loading"
        one.process.send_signal(number)
        assert one.lines(1) == ["SIGTERM 0"]
        assert one.end() == (code, last)


def test_one_that_is_killed_is_replaced_by_one_that_finds_its_last_report() -> None:
    with parent("plain") as one:
        lines = one.lines(3)
        os.kill(pid_in(lines[2]), signal.SIGKILL)
        (again,) = one.lines(1)
        assert again.startswith("forked 1")
        assert again.endswith("written")
        one.process.terminate()
        one.process.wait()


def test_one_whose_event_loop_stands_still_is_killed_and_replaced() -> None:
    with parent("silent") as one:
        lines = [line.split() for line in one.lines(5) if not line.startswith("serving")]
        found = {(slot, before) for _, slot, _, before in lines}
        assert found == {("0", "-"), ("1", "-"), ("0", "written"), ("1", "written")}
        one.process.terminate()
        one.process.wait()


def test_the_first_one_that_does_not_serve_ends_the_start_with_its_code() -> None:
    with parent("refused") as one:
        assert one.end() == (4, "ended by the first one\n")


def test_a_second_ctrl_c_ends_at_once_what_does_not_end() -> None:
    with parent("deaf") as one:
        one.lines(3)
        one.process.send_signal(signal.SIGINT)
        assert set(one.lines(2)) == {"SIGTERM 0", "SIGTERM 1"}
        one.process.send_signal(signal.SIGINT)
        assert one.end() == (0, "interrupted\n")


@pytest.fixture
def unstarted() -> Supervisor:
    def never(*_: object) -> Any:
        raise AssertionError

    return Supervisor(never, WorkerSlots(2), ending=never, workers=never, load=None, serving=never)


def test_the_pause_before_another_grows_while_they_end_soon(
    unstarted: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    unstarted._places = range(1)

    def ended(after: float) -> float:
        unstarted._children.append(Child(1, 0, early=False, began=now - after, ready=None))
        unstarted._ended(1, -9)
        return max(0.0, unstarted._next_fork - now)

    assert [ended(after=60), *(ended(after=1) for _ in range(6))] == [0, 0, 1, 2, 4, 8, LONGEST_PAUSE_S]
    assert [ended(after=60), ended(after=1), ended(after=1)] == [0, 0, 1]


def test_none_is_killed_for_the_time_in_which_its_parent_stood_still_too(
    unstarted: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, killed = 1000.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(Child, "send", lambda _, number: killed.append(number))
    unstarted._children.append(Child(1, 0, early=False, began=now, ready=None))
    unstarted._slots.beat(0, now)
    unstarted._end_silent()
    now += 600  # the container was frozen
    for _ in range(int(SILENT_S)):
        unstarted._end_silent()
        now += 1
    assert killed == []
    now += 1
    unstarted._end_silent()
    assert killed == [signal.SIGKILL]


def test_the_early_one_does_not_wait_for_ever_for_one_that_never_serves(
    unstarted: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = 1000.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(Child, "send", lambda child, number: told.append((child.slot, number)))
    unstarted._places, unstarted._retires_by = range(1, 3), now + 15
    early, one = Child(1, 0, early=True, began=now, ready=None), Child(2, 1, early=False, began=now, ready=7)
    unstarted._children = [early, one]
    for now, ready, expected in ((1001, 7, []), (1020, 7, []), (1014, None, []), (1015, None, [(0, signal.SIGUSR1)])):
        one.ready = ready
        unstarted._retire_early()
        assert told == expected, now


def test_a_system_that_cannot_fork_for_a_time_ends_no_service(
    unstarted: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory() -> int:
        raise OSError(errno.ENOMEM, "no memory")

    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(os, "fork", without_memory)
    unstarted._places, unstarted._lifeline = range(2), -1
    mask, open_before = signal.pthread_sigmask(signal.SIG_BLOCK, []), set(Path("/dev/fd").iterdir())
    for _ in range(2):
        unstarted._fill()
    assert (unstarted._children, unstarted._next_fork) == ([], now + 1)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert set(Path("/dev/fd").iterdir()) == open_before


def test_a_first_one_that_is_killed_before_it_serves_is_named_as_the_reason(unstarted: Supervisor) -> None:
    unstarted._children.append(Child(1, 0, early=False, began=0, ready=None))
    with pytest.raises(StartError, match="by signal 9"):
        unstarted._ended(1, -9)
    with suppress(KeyError):
        unstarted._ended(2, 0)  # not one of its own: an orphan in a container
