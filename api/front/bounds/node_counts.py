"""Counts that the processes of a node share: how often something happened, and the calls of a caller under way.

Promises: a limit of requests a minute or of concurrent calls holds for all processes of a node together, whichever of
them a connection leads to. Calls of a process that was killed count no longer.
Limits: processes that decide at the same moment may admit one too many each. Where thousands of callers are counted at
a time, some may be forgotten (`SharedTable`), and what they do is then counted by each process alone.
"""

import time
from collections.abc import Callable
from typing import Protocol

from api.front.bounds.rates import Rates
from api.front.bounds.shared_table import SharedTable

_RATES = 65536
_CALLERS = 4096  # of one process, with calls under way


class Counts(Protocol):
    """The counts of one process, with those of the others."""

    def rates(self, kind: str) -> Rates:
        """Return the rates of one kind of name."""
        ...

    def calls_elsewhere(self, caller: str) -> int:
        """Return how many calls of a caller are under way in the other processes."""
        ...

    def note_calls(self, caller: str, under_way: int) -> None:
        """Note how many are under way in this one."""
        ...


class OwnCounts:
    """The counts of a process without others. now: a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now

    def rates(self, kind: str) -> Rates:
        """Return new rates."""
        del kind
        return Rates(self._now)

    def calls_elsewhere(self, caller: str) -> int:
        """Return 0."""
        del caller
        return 0

    def note_calls(self, caller: str, under_way: int) -> None:
        """Do nothing."""


class NodeCounts:
    """Makes what the processes of a node count with, before the first of them is forked."""

    def __init__(self, slots: int, now: Callable[[], float] = time.monotonic) -> None:
        """slots: of how many processes. now: a clock in seconds that all of them share and that never goes back."""
        self._rates = SharedTable(_RATES)
        self._calls = [SharedTable(_CALLERS) for _ in range(slots)]
        self._now = now

    def of_process(self, slot: int) -> Counts:
        """Return what the process of a slot counts."""
        return _CountsOfProcess(self._rates, self._calls, slot, self._now)

    def ended(self, slot: int) -> None:
        """Forget the calls of a process that has ended."""
        self._calls[slot].clear()


class _CountsOfProcess:
    def __init__(self, rates: SharedTable, calls: list[SharedTable], slot: int, now: Callable[[], float]) -> None:
        self._rates = rates
        self._own = calls[slot]
        self._others = [table for table in calls if table is not self._own]
        self._now = now

    def rates(self, kind: str) -> Rates:
        return _SharedRates(self._rates, kind, self._now)

    def calls_elsewhere(self, caller: str) -> int:
        return int(sum(table.get(caller) for table in self._others))

    def note_calls(self, caller: str, under_way: int) -> None:
        self._own.put(caller, under_way)


class _SharedRates(Rates):
    def __init__(self, table: SharedTable, kind: str, now: Callable[[], float]) -> None:
        super().__init__(now)
        self._table = table
        self._kind = kind

    def _due_of(self, name: str) -> float:
        return self._table.get((self._kind, name))

    def _keep(self, name: str, due: float, now: float) -> None:
        self._table.put((self._kind, name), due, worthless=now)
