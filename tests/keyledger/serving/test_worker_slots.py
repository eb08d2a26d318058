"""The others read whole reports, also of a process that died while it wrote."""

import os

import pytest

from keyledger.serving.worker_slots import _HEAD, _LENGTHS, _SLOT, _WHICH, REPORT_BYTES, Report, WorkerSlots


@pytest.fixture
def slots() -> WorkerSlots:
    return WorkerSlots(3)


def test_the_others_read_what_was_written_last(slots: WorkerSlots) -> None:
    assert list(slots.others(0)) == []
    slots.write(1, b"one")
    slots.write(1, b"two")
    slots.write(2, b"of another")
    assert list(slots.others(0)) == [Report(b"two", live=True), Report(b"of another", live=True)]
    assert list(slots.others(1)) == [Report(b"of another", live=True)]


def test_a_report_outlives_its_worker_until_the_next_one_writes(slots: WorkerSlots) -> None:
    slots.write(1, b"last words")
    slots.beat(1, 12.5)
    assert slots.last_beat(1) == 12.5
    slots.ended(1)
    assert (slots.read(1), slots.last_beat(1)) == (Report(b"last words", live=False), 0.0)
    slots.write(1, b"of the next")
    assert slots.read(1) == Report(b"of the next", live=True)


def test_a_worker_that_ended_before_it_wrote_left_nothing(slots: WorkerSlots) -> None:
    slots.ended(1)
    assert slots.read(1) is None


def test_what_was_half_written_is_not_read(slots: WorkerSlots) -> None:
    slots.write(1, b"whole")
    memory, start = slots._memory, _SLOT
    other = start + _HEAD + (1 - memory[start + _WHICH]) * REPORT_BYTES
    memory[other : other + 4] = b"half"
    assert slots.read(1) == Report(b"whole", live=True)
    memory[start + _LENGTHS : start + _LENGTHS + 16] = b"\xff" * 16
    assert slots.read(1) is None


def test_a_report_that_is_too_long_leaves_the_one_before_it(slots: WorkerSlots) -> None:
    slots.write(1, b"short")
    slots.write(1, b"x" * (REPORT_BYTES + 1))
    assert slots.read(1) == Report(b"short", live=True)
    longest = b"x" * REPORT_BYTES
    slots.write(1, longest)
    assert slots.read(1) == Report(longest, live=True)
    assert list(slots.others(1)) == []


def test_a_forked_process_shares_them(slots: WorkerSlots) -> None:
    pid = os.fork()
    if not pid:
        slots.write(2, b"of the child")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert slots.read(2) == Report(b"of the child", live=True)
