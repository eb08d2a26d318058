"""How often something may happen, for each name: the generic cell rate algorithm, which stores one number for a name.

Promises: in any minute at most twice the number happens, and over a longer time no more than that number a minute; a
name that was idle for a minute has its whole minute at once. Names are forgotten when they no longer matter, so names
that callers invent take no lasting memory.
"""

import math
from collections.abc import Callable

_MINUTE = 60.0
_KEPT = 4096
"""Names after which those that no longer matter are looked for; doubled while they all do."""


class Rates:
    """Rates of one kind. now: a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._due: dict[str, float] = {}  # when a name would have used up all that was admitted, at the even rate
        self._look_at = _KEPT

    @property
    def names(self) -> int:
        """How many names are remembered."""
        return len(self._due)

    def admit(self, name: str, per_minute: int) -> int:
        """Admit one more and return 0, or return after how many seconds, at least 1, there is room for one more.

        per_minute: 0 admits everything.
        """
        if not per_minute:
            return 0
        now, each = self._now(), _MINUTE / per_minute
        due = max(self._due_of(name), now) + each
        if due - now > _MINUTE + each / 2:  # half of one against rounding
            return max(1, math.ceil(due - now - _MINUTE))
        self._keep(name, due, now)
        return 0

    def _due_of(self, name: str) -> float:
        return self._due.get(name, 0.0)

    def _keep(self, name: str, due: float, now: float) -> None:
        self._due[name] = due
        if len(self._due) > self._look_at:
            self._due = {known: due for known, due in self._due.items() if due > now}
            self._look_at = max(_KEPT, 2 * len(self._due))
