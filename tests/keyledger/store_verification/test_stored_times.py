"""Each step back in the time of a log is found, with its position and length, and nothing else is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyledger.store_verification import stored_times
from keyledger.store_verification.stored_times import StepBack, StoredTimes
from projections.catch_up import Appended
from tests.support.rows import row_of
from tests.support.scenario import was_set

START = datetime(2026, 1, 1, tzinfo=UTC)


def steps(seconds: list[int], accepted: frozenset[int] = frozenset()) -> StoredTimes:
    """Return the check of a log whose events have these times."""
    times = StoredTimes(accepted)
    for position, second in enumerate(seconds, 1):
        event = replace(was_set(position), timestamp=START + timedelta(seconds=second))
        times.check(Appended(position, event, row_of(position, event)))
    return times


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        pytest.param([], [], id="an empty log"),
        pytest.param([5, 5, 7], [], id="in order"),
        pytest.param([5, 4, 4], [(2, 1)], id="one step, and on from there"),
        pytest.param([3600, 0, 3600, 1800], [(2, 3600), (4, 1800)], id="each step by its own length"),
    ],
)
def test_each_step_back_is_found(seconds: list[int], found: list[tuple[int, int]]) -> None:
    assert steps(seconds).steps == [StepBack(position, timedelta(seconds=by)) for position, by in found]


def test_an_accepted_forgery_accuses_no_event_after_it() -> None:
    assert steps([1, 9_999, 2, 0, 3], accepted=frozenset({2, 4})).steps == []
    assert steps([1, 9_999, 0], accepted=frozenset({2})).steps == [StepBack(3, timedelta(seconds=1))]


def test_many_steps_are_counted_and_the_first_ones_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_times, "LISTED", 2)
    found = steps([9, 8, 7, 6])
    assert (found.count, [step.position for step in found.steps]) == (3, [2, 3])


@given(st.lists(st.integers(0, 100)))
def test_a_log_has_no_step_exactly_if_its_times_are_sorted(seconds: list[int]) -> None:
    assert (steps(seconds).count == 0) == (seconds == sorted(seconds))
