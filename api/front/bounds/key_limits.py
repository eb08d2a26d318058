"""The limits of access keys: requests a minute and concurrent calls, counted by this process.

Promises: what a request takes is given back when `KeyLimits.release` is called, once. Limits are those of the key as it
was read for the request, so a change applies to the next request. A refused request names the limit that would have to
be higher, and how long to wait.
"""

import time
from collections.abc import Callable

from api.front.bounds.rates import Rates
from domain.access.access_key import AccessKey
from domain.errors import AccessError, ErrorCode


class KeyLimits:
    """Counts by the name of the key. now: a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._rates = Rates(now)
        self._under_way: dict[str, int] = {}

    def begin(self, key: AccessKey, *, calling: bool) -> None:
        """Count one request. calling: it is a call, which takes a place until `release`. Raises AccessError."""
        limits = key.terms.limits
        under_way = self._under_way.get(key.name, 0)
        if calling and 0 < limits.concurrent_calls <= under_way:
            detail = f"This access key has {under_way} calls under way, as many as its concurrent_calls allows."
            raise AccessError(ErrorCode.ACCESS_LIMIT_REACHED, f"{detail} Wait for one, or have the limit raised.", 1)
        if wait := self._rates.admit(key.name, limits.requests_per_minute):
            detail = f"This access key may send {limits.requests_per_minute} requests a minute (requests_per_minute)."
            raise AccessError(ErrorCode.ACCESS_LIMIT_REACHED, f"{detail} Wait, or have the limit raised.", wait)
        if calling:
            self._under_way[key.name] = under_way + 1

    def release(self, key: AccessKey) -> None:
        """Give back the place of a call."""
        left = self._under_way.pop(key.name) - 1
        if left:
            self._under_way[key.name] = left
