"""Limits that hold for all processes of a node together, and what is left of a process that was killed."""

import os
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.front.bounds.key_limits import KeyLimits
from api.front.bounds.node_counts import NodeCounts
from api.front.bounds.rates import Rates
from api.front.bounds.shared_table import SharedTable
from api.front.standing import Admitted
from domain.access.access_key import AccessTerms
from domain.access.key_limits import KeyLimits as Limits
from domain.access.scope import Scope
from domain.errors import AccessError


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Caller:
    name: str
    limits: Limits
    terms: AccessTerms = field(init=False)

    def __post_init__(self) -> None:
        self.terms = AccessTerms(Scope(), self.limits, None)


def caller(name: str = "app", *, requests: int = 0, calls: int = 0) -> Admitted:
    return Caller(name, Limits(requests, calls))


def test_the_requests_of_all_processes_count_together() -> None:
    clock = Clock()
    node = NodeCounts(3, clock)
    processes = [KeyLimits(node.of_process(slot)) for slot in range(3)]
    for turn in range(6):
        processes[turn % 3].begin(caller(requests=6), calling=False)
    for process in processes:
        with pytest.raises(AccessError, match="6 requests a minute"):
            process.begin(caller(requests=6), calling=False)
        process.begin(caller("another", requests=6), calling=False)
    clock.now += 10
    processes[2].begin(caller(requests=6), calling=False)


def test_the_calls_under_way_in_all_processes_count_together() -> None:
    node = NodeCounts(3)
    one, other, third = (KeyLimits(node.of_process(slot)) for slot in range(3))
    mine = caller(calls=2)
    one.begin(mine, calling=True)
    other.begin(mine, calling=True)
    for process in (one, other, third):
        with pytest.raises(AccessError, match="2 calls under way"):
            process.begin(mine, calling=True)
        process.begin(mine, calling=False)
    other.release(mine)
    third.begin(mine, calling=True)
    with pytest.raises(AccessError):
        one.begin(mine, calling=True)
    node.ended(2)  # it was killed
    one.begin(mine, calling=True)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 30)), max_size=60))
def test_rates_that_are_shared_admit_what_those_of_one_process_admit(steps: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    node = NodeCounts(3, clock)
    shared, single = [node.of_process(slot).rates("of a kind") for slot in range(3)], Rates(clock)
    for process, name, later in steps:
        clock.now += later
        assert shared[process].admit(str(name), 3) == single.admit(str(name), 3)


def test_another_process_reads_what_one_keeps() -> None:
    table = SharedTable(64)
    table.put("a", 1.5)
    pid = os.fork()
    if not pid:
        table.put("b", 2 * table.get("a"))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert (table.get("a"), table.get("b"), table.get("c")) == (1.5, 3.0, 0.0)
    table.clear()
    assert table.get("a") == 0.0


def test_a_full_table_forgets_what_is_worthless_first_and_then_the_smallest() -> None:
    table = SharedTable(16)  # each name may be in any place
    for number in range(1, 17):
        table.put(number, float(number))
    table.put("new", 50.0, worthless=3.0)
    assert sum(table.get(number) > 0 for number in (1, 2, 3)) == 2
    assert all(table.get(number) == number for number in range(4, 17))
    table.put("newer", 60.0)
    assert (table.get("new"), table.get("newer")) == (50.0, 60.0)
    assert sum(table.get(number) > 0 for number in range(1, 17)) == 14
