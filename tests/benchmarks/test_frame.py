"""The frame of the benchmarks: what counts as a result, and that a quick run of the cheap ones works."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks import append, resolve
from benchmarks.frame import (
    QUICK,
    Goal,
    Measured,
    Row,
    Section,
    Spread,
    UnusableError,
    apart,
    in_turn,
    measured,
    optional,
    throughput_ratio,
)
from benchmarks.load import Call, drive, send_calls
from benchmarks.provider import provider
from benchmarks.report import markdown, written
from benchmarks.service import completion


def _rate(per_second: float) -> Measured:
    return Measured(per_second, 1.0, 2.0)


def test_contestants_take_turns_forwards_and_backwards() -> None:
    order: list[str] = []

    def contestant(name: str) -> Measured:
        order.append(name)
        return _rate(1)

    found = in_turn({name: partial(contestant, name) for name in ("a", "b", "c")}, rounds=3)

    assert order == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert {name: len(rounds) for name, rounds in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_ratio_is_taken_within_each_round() -> None:
    ratio = throughput_ratio([_rate(10), _rate(100), _rate(30)], [_rate(5), _rate(50), _rate(60)])

    assert ratio == Spread(2.0, 0.5, 2.0)


def test_operations_are_counted_over_the_time_that_was_given() -> None:
    found = measured([0.002] * 98 + [0.004] * 2, seconds=2.0)

    assert found == Measured(50.0, 2.0, 4.0)


def test_nothing_finished_is_no_result() -> None:
    with pytest.raises(UnusableError):
        measured([], seconds=1.0)


@pytest.mark.parametrize(
    ("goal", "ratio", "held"),
    [
        (Goal(1.5), 1.5, True),
        (Goal(1.5), 1.49, False),
        (Goal(0.4, at_most=True), 0.4, True),
        (Goal(0.4, at_most=True), 0.41, False),
    ],
)
def test_a_goal_holds_up_to_its_value(goal: Goal, ratio: float, *, held: bool) -> None:
    assert Row("what", Spread.of([ratio]), goal).held is held


def test_a_contestant_that_is_not_here_leaves_a_row_that_says_why() -> None:
    section = Section("some: benchmark")
    with optional(section, "the peer"):
        _start_a_peer_that_is_not_here()

    assert [(row.what, row.result, row.held) for row in section.rows] == [
        ("the peer", "skipped: it is not installed", None)
    ]


def _start_a_peer_that_is_not_here() -> None:
    raise UnusableError("it is not installed")


def test_work_in_a_process_of_its_own_returns_or_says_why_not() -> None:
    assert apart(measured, [0.5], 1.0) == Measured(1.0, 500.0, 500.0)
    with pytest.raises(UnusableError, match="nothing was finished"):
        apart(measured, [], 1.0)


def test_writing_a_section_again_replaces_it_and_nothing_else() -> None:
    before = "# Results\n\n## Replay: of many events\n\nold text\n\n## Rotation: of keys\n\nkept\n"
    new = Section("replay: of more", [Row("rate", Spread(1, 0.5, 2), Goal(1), "10/s")])

    text = written(before, [new])

    assert "old text" not in text
    assert text.count("## ") == 2
    assert "| rate | 1.00 (0.50 to 2.00) | >= 1 | yes |" in text
    assert "- 10/s" in text
    assert "## Rotation: of keys\n\nkept\n" in text
    assert text.index("replay:") < text.index("Rotation:")


def test_a_new_section_is_put_at_the_end() -> None:
    section = Section("resolve: a key", [])

    assert written("# Results\n", [section]) == f"# Results\n\n{markdown(section).rstrip()}\n"


def test_the_load_counts_whole_answers_of_both_kinds_and_refuses_errors() -> None:
    with provider() as port:
        for streaming in (False, True):
            call = completion("/v1/chat/completions", streaming=streaming)
            assert send_calls(port, call, clients=2, count=6) == 6
        with pytest.raises(UnusableError):
            drive(1, Call("GET", "/"), clients=1, seconds=0.1, warm_up=0)


@pytest.mark.long
@pytest.mark.parametrize("benchmark", [resolve.run, append.run])
def test_a_quick_run_gives_every_row_a_ratio(benchmark, tmp_path: Path) -> None:
    section = benchmark(QUICK, tmp_path)

    assert section.rows
    assert all(isinstance(row.result, Spread) and row.result.low > 0 for row in section.rows)
