"""The numbers of a part: printed in order, added up, and greatest for durations."""

from tests.prove.part import Counts, Scale


def test_counts_are_printed_in_the_order_in_which_they_were_mentioned():
    counts = Counts(acknowledged=3, lost=0)
    counts["longest 503 ms"] += 7
    assert str(counts) == "acknowledged=3 lost=0 longest-503-ms=7"


def test_counts_are_added_and_durations_are_not():
    counts, other = Counts(acknowledged=3), Counts(acknowledged=2, lost=1)
    counts["longest 503 ms"] = 9
    other["longest 503 ms"] = 4
    other.faults.append("lost: one")
    counts.include(other, "in session mode: ")
    assert str(counts) == "acknowledged=5 longest-503-ms=9 lost=1"
    assert counts.faults == ["in session mode: lost: one"]


def test_a_scale_picks_its_number():
    assert [scale.of(1, 2, 3) for scale in Scale] == [1, 2, 3]
