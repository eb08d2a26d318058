"""How things are measured here: contestants in turn, ratios within one round, medians with their spread.

Promises: every figure that counts is the ratio of two contestants of the same round, so that whatever else the machine
does slows both; contestants run one at a time, forwards and backwards by turns, so that none profits from its place.
Refuses: to count operations that failed. A contestant that cannot do its work raises UnusableError and the run ends, or
its rows say why they are missing.
"""

import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe


T = TypeVar("T")


class UnusableError(Exception):
    """A contestant is not here or does not do what is measured. The text says why, and how to change it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. seconds: for each contestant in each round. `quick` only shows that everything runs."""

    rounds: int = 5
    seconds: float = 3.0
    clients: tuple[int, ...] = (1, 8, 32)
    llm_clients: tuple[int, ...] = (1, 8, 64)
    calls: int = 10_000
    stored: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    warm_up: float = 0.5
    quick: bool = False


QUICK = Scale(1, 0.2, (2,), (2,), 20, (50, 100), 0.05, quick=True)


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one contestant: operations per second, and the times of single ones in milliseconds.

    processor_us: processor time of the contestant's processes for one, in microseconds, where it was measured.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    processor_us: float | None = None


Contestant = Callable[[], Measured]
Rounds = Sequence[Measured]


def in_turn(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, list[Measured]]:
    """Run each contestant once in every round and return what each did, by round."""
    found: dict[str, list[Measured]] = {name: [] for name in contestants}
    for nth in range(rounds):
        for name in list(contestants)[:: 1 if nth % 2 == 0 else -1]:
            found[name].append(contestants[name]())
    return found


def measured(times: Sequence[float], seconds: float) -> Measured:
    """Return what operations that took `times` (in seconds) one by one, within `seconds`, amount to."""
    if not times:
        raise UnusableError("nothing was finished in the time that was given")
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return Measured(len(ordered) / seconds, 1000 * statistics.median(ordered), 1000 * p99)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of one value for each round."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def throughput_ratio(ours: Rounds, theirs: Rounds) -> Spread:
    """Return our operations per second in ratio to theirs, round by round."""
    return Spread.of([a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True)])


def processor_ratio(ours: Rounds, theirs: Rounds) -> Spread:
    """Return our processor time for an operation in ratio to theirs, round by round."""
    return Spread.of([(a.processor_us or 0) / (b.processor_us or 1) for a, b in zip(ours, theirs, strict=True)])


@dataclass(frozen=True, slots=True)
class Goal:
    """The bound of a ratio: at least or at most `value`."""

    value: float
    at_most: bool = False

    def holds(self, ratio: float) -> bool:
        """Say whether a ratio is as good as the goal."""
        return ratio <= self.value if self.at_most else ratio >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. result: a ratio, or why there is none. alongside: the absolute figures of the same run."""

    what: str
    result: Spread | str
    goal: Goal | None = None
    beside: str = ""

    @property
    def held(self) -> bool | None:
        """Whether the goal was reached; None where there is no goal or no result."""
        if self.goal is None or isinstance(self.result, str):
            return None
        return self.goal.holds(self.result.median)


@dataclass(slots=True)
class Section:
    """The rows of one benchmark."""

    title: str
    rows: list[Row] = field(default_factory=list)

    def skip(self, what: str, why: object) -> None:
        """Note that something was not measured."""
        self.rows.append(Row(what, f"skipped: {why}"))


def rates(found: Mapping[str, Rounds]) -> str:
    """Return the median rate and time of each contestant, for people."""
    shown = []
    for name, rounds in found.items():
        rate = statistics.median(one.per_second for one in rounds)
        time = statistics.median(one.p50_ms for one in rounds)
        spent = [one.processor_us for one in rounds if one.processor_us is not None]
        processor = f" {statistics.median(spent):,.0f} µs of processor time each" if spent else ""
        shown.append(f"{name} {rate:,.0f}/s p50 {time:.2f} ms{processor}")
    return ", ".join(shown)


def apart(work: Callable[..., T], *arguments: object) -> T:
    """Do the work in a new process, which has an interpreter lock of its own, and return the result.

    Raises UnusableError with its text where the work raised it, or where the process died.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(there, work, arguments))
    process.start()
    there.close()
    try:
        result, error = here.recv()
    except EOFError:
        raise UnusableError(f"{work.__name__} failed; what it printed says why") from None
    finally:
        process.join()
    if error is not None:
        raise UnusableError(error)
    return cast("T", result)


def _report(to: "Pipe", work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    try:
        to.send((work(*arguments), None))
    except UnusableError as why:
        to.send((None, str(why)))


@contextmanager
def optional(section: Section, what: str) -> Iterator[None]:
    """Turn a contestant that is not here into a row that says so."""
    try:
        yield
    except UnusableError as why:
        section.skip(what, why)
