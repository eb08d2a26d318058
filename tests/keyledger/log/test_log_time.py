"""The time of the log: a little ahead of the clock while appends cross each other, and no further than it has to be."""

from datetime import datetime, timedelta

from domain.events.event import Event
from keyledger.log.log_time import AHEAD_MAX, AHEAD_MIN, LogTime
from tests.support.scenario import NOW, was_set


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def stamped(time: LogTime, crossings: int = 0) -> datetime:
    events: list[Event] = time.stamp([was_set(1), was_set(2)], crossings)
    assert events[0].timestamp == events[1].timestamp
    return events[0].timestamp


def test_without_contention_an_event_keeps_its_time() -> None:
    assert stamped(LogTime(Clock())) == NOW


def test_no_event_is_earlier_than_the_head_that_an_append_met() -> None:
    time, head = LogTime(Clock()), NOW + timedelta(seconds=3)
    time.crossed(head)
    assert stamped(time) == head


def test_while_appends_cross_each_other_all_are_ahead_and_then_no_longer() -> None:
    clock = Clock()
    time = LogTime(clock)
    time.crossed(NOW)
    assert stamped(time) == NOW + AHEAD_MIN
    clock.now += timedelta(minutes=1)
    for _ in range(30):
        time.stored(NOW)
    assert stamped(time) == NOW


def test_an_append_that_is_crossed_again_and_again_gets_ahead_of_those_that_are_stored_in_between() -> None:
    time = LogTime(Clock())
    for crossings in range(1, 8):
        time.crossed(NOW)
        for _ in range(100):
            time.stored(NOW)  # so the others are no longer ahead
        assert stamped(time) == NOW
        assert stamped(time, crossings) == NOW + min(AHEAD_MIN * 2**crossings, AHEAD_MAX)
