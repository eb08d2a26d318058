"""A part of `make prove`: one kind of disturbance, tried on real processes, with what it counted.

Promises: a part is named, says in one sentence what it shows, how long it takes, and what it lacks on this machine.
`run` leaves neither a process nor a file outside its folder, also when it is interrupted. A part that finds something
says so in `Counts.faults`, in sentences that are enough to reproduce it; it never raises to report one.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Scale(Enum):
    """How much is tried: minutes, three quarters of an hour, or hours."""

    QUICK = "quick"
    WHOLE = "whole"
    LONG = "long"

    def of(self, quick: int, whole: int, long: int) -> int:
        """Return the number for this scale."""
        return {Scale.QUICK: quick, Scale.WHOLE: whole, Scale.LONG: long}[self]


class Counts(Counter[str]):
    """Numbers by their words, in the order in which they were first mentioned, and what was found wrong.

    A word that was not mentioned counts 0.
    """

    def __init__(self, **numbers: int) -> None:
        super().__init__(numbers)
        self.faults: list[str] = []

    def include(self, other: "Counts", where: str = "") -> None:
        """Add the numbers of another, and what it found. A word that ends in `ms` keeps the greater of the two.

        where: begins the sentences.
        """
        for word, number in other.items():
            self[word] = max(self[word], number) if word.endswith(" ms") else self[word] + number
        self.faults += [where + sentence for sentence in other.faults]

    def __str__(self) -> str:
        return " ".join(f"{word.replace(' ', '-')}={number}" for word, number in self.items())


def nothing() -> str:
    """Return what a part lacks that needs no more than the development environment."""
    return ""


@dataclass(frozen=True)
class Part:
    """One part. minutes: in a whole run, on two cores; a quick run of it may take less.

    says: one sentence. needs: returns what the machine lacks, "" if nothing. run: gets its own random numbers, and a
    folder that is empty. quick: whether `--quick` has it. only_long: only `--long` has it, or its name.
    """

    name: str
    minutes: float
    says: str
    needs: Callable[[], str]
    run: Callable[[Scale, random.Random, Path], Counts]
    quick: bool
    only_long: bool = False
