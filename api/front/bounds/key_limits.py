"""The limits of callers: requests a minute and concurrent calls, counted by this process.

Promises: what a request takes is given back when `KeyLimits.release` is called, once. Limits are those of the caller as
it is at the request, so a change applies to the next request. A refused request names the limit that would have to
be higher, and how long to wait.
"""

import time
from collections.abc import Callable

from api.front.bounds.rates import Rates
from api.front.standing import Admitted
from domain.errors import AccessError, ErrorCode


class KeyLimits:
    """Counts by the name of the caller. now: a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._rates = Rates(now)
        self._under_way: dict[str, int] = {}

    def begin(self, caller: Admitted, *, calling: bool) -> None:
        """Count one request. calling: it is a call, which takes a place until `release`. Raises AccessError."""
        limits = caller.terms.limits
        under_way = self._under_way.get(caller.name, 0)
        if calling and 0 < limits.concurrent_calls <= under_way:
            detail = f"This caller has {under_way} calls under way, as many as its concurrent_calls allows."
            raise AccessError(ErrorCode.ACCESS_LIMIT_REACHED, f"{detail} Wait for one, or have the limit raised.", 1)
        if wait := self._rates.admit(caller.name, limits.requests_per_minute):
            detail = f"This caller may send {limits.requests_per_minute} requests a minute (requests_per_minute)."
            raise AccessError(ErrorCode.ACCESS_LIMIT_REACHED, f"{detail} Wait, or have the limit raised.", wait)
        if calling:
            self._under_way[caller.name] = under_way + 1

    def release(self, caller: Admitted) -> None:
        """Give back the place of a call."""
        left = self._under_way.pop(caller.name) - 1
        if left:
            self._under_way[caller.name] = left
