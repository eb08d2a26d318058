"""The limits of callers: requests a minute and concurrent calls, counted by all processes of a node together.

Promises: what a request takes is given back when `KeyLimits.release` is called, once. Limits are those of the caller as
it is at the request, so a change applies to the next request. A refused request names the limit that would have to
be higher, and how long to wait.
"""

from api.front.bounds.node_counts import Counts, OwnCounts
from api.front.standing import Admitted
from domain.errors import AccessError, ErrorCode


class KeyLimits:
    """Counts by the name of the caller."""

    def __init__(self, counts: Counts | None = None) -> None:
        """counts: of this process and the others; by default of this one alone."""
        self._counts = counts or OwnCounts()
        self._rates = self._counts.rates("caller")
        self._under_way: dict[str, int] = {}

    def begin(self, caller: Admitted, *, calling: bool) -> None:
        """Count one request. calling: it is a call, which takes a place until `release`. Raises AccessError."""
        limits = caller.terms.limits
        own = self._under_way.get(caller.name, 0)
        limited = calling and limits.concurrent_calls > 0
        under_way = own + self._counts.calls_elsewhere(caller.name) if limited else own
        if limited and limits.concurrent_calls <= under_way:
            detail = f"This caller has {under_way} calls under way, as many as its concurrent_calls allows."
            raise AccessError(ErrorCode.ACCESS_LIMIT_REACHED, f"{detail} Wait for one, or have the limit raised.", 1)
        if wait := self._rates.admit(caller.name, limits.requests_per_minute):
            detail = f"This caller may send {limits.requests_per_minute} requests a minute (requests_per_minute)."
            raise AccessError(ErrorCode.ACCESS_LIMIT_REACHED, f"{detail} Wait, or have the limit raised.", wait)
        if calling:
            self._note(caller.name, own + 1)

    def release(self, caller: Admitted) -> None:
        """Give back the place of a call."""
        self._note(caller.name, self._under_way.pop(caller.name) - 1)

    def _note(self, name: str, under_way: int) -> None:
        if under_way:
            self._under_way[name] = under_way
        self._counts.note_calls(name, under_way)
