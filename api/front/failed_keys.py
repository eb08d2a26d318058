"""Failed authentications by address: their answers are slowed, and an address that guesses keys is locked out.

Promises: only requests without a valid key are slowed or locked out, so users behind one proxy never suffer from each
other. A wrong key that is new to its address counts as a guess; the answers to guesses leave at `GUESS_S` for each
address, those to other failed requests at `REPEAT_S`, and none is delayed for longer than `DELAY_MAX_S`. After
`LockoutPolicy.attempts` guesses within a minute the address is locked out: until that ends, every wrong key from it is
answered 429. Wrong keys that it tried before, such as the stale one of a forgotten client, lock it out after ten times
as many, unless valid keys come from it as well. A request without a key guesses nothing and locks nothing out.
Bounded: `ADDRESSES` addresses are known at a time, the one unseen for longest is forgotten; `WAITING` answers are
delayed at a time, `WAITING_EACH` for one address. Beyond that an answer leaves at once and ends the connection.
State is lost with the process, and every process has its own.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

ADDRESSES = 2048
WAITING, WAITING_EACH = 1024, 128
GUESS_S, REPEAT_S, DELAY_MAX_S = 0.2, 0.005, 5.0
_WINDOW_S = 60.0
_REPEATS = 10
"""A lock-out takes this many times as many repeats as guesses."""


@dataclass(frozen=True, slots=True)
class LockoutPolicy:
    """attempts: different wrong keys within a minute that lock an address out; 0 for no slowing and no lock-out.

    seconds: how long a lock-out lasts.
    """

    attempts: int = 20
    seconds: float = 60.0


NO_LOCKOUT = LockoutPolicy(attempts=0)


@dataclass(slots=True)
class _Address:
    """One address. since: when its minute began. tried: hashes of the wrong keys since then. repeats: of those.

    free_at: when the next answer may leave. All times are of the monotonic clock.
    """

    since: float
    free_at: float
    repeats: int = 0
    locked_until: float = 0.0
    waiting: int = 0
    tried: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Failure:
    """How to answer a failed request.

    delay: in seconds. retry_after: in seconds, None for an address that is not locked out. begins_lockout: this request
    locked the address out.
    """

    delay: float = 0.0
    retry_after: int | None = None
    begins_lockout: bool = False
    address: _Address | None = None


class FailedKeys:
    """The failed authentications of one process. For the event loop only."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self.waiting = 0

    def note(self, network: str, key: str | None, policy: LockoutPolicy) -> Failure:
        """Count a failed request. network: of the client. key: the one wrong key it sent, if it did."""
        if not policy.attempts:
            return Failure()
        now = self._clock()
        address = self._address(network, now)
        guess = key is not None and hash(key) not in address.tried
        begins = key is not None and now >= address.locked_until and self._counted(address, hash(key), now, policy)
        locked = key is not None and now < address.locked_until
        delay = min(max(0.0, address.free_at - now), DELAY_MAX_S)
        address.free_at = now + delay + (GUESS_S if guess else REPEAT_S)
        left = address.locked_until - now
        return Failure(delay, max(1, math.ceil(left)) if locked else None, begins, address)

    def served(self, network: str) -> None:
        """Note a request with a valid key: repeated wrong keys then come from a client among others that work."""
        if (address := self._addresses.get(network)) is not None:
            address.repeats = 0

    async def wait(self, failure: Failure) -> bool:
        """Wait until the answer may leave. Return False, at once, where too many answers wait already."""
        address = failure.address
        if not failure.delay or address is None:
            return True
        if self.waiting >= WAITING or address.waiting >= WAITING_EACH:
            return False
        self.waiting += 1
        address.waiting += 1
        try:
            await self._pause(failure.delay)
        finally:
            self.waiting -= 1
            address.waiting -= 1
        return True

    def _address(self, network: str, now: float) -> _Address:
        address = self._addresses.get(network)
        if address is None:
            address = self._addresses[network] = _Address(now, now)
            if len(self._addresses) > ADDRESSES:
                self._addresses.popitem(last=False)
        else:
            self._addresses.move_to_end(network)
        if now - address.since >= _WINDOW_S and now >= address.locked_until:
            address.since, address.repeats = now, 0
            address.tried.clear()
        return address

    def _counted(self, address: _Address, key: int, now: float, policy: LockoutPolicy) -> bool:
        """Count a wrong key. Return whether it locks the address out."""
        address.repeats += key in address.tried
        address.tried.add(key)
        if len(address.tried) < policy.attempts and address.repeats < policy.attempts * _REPEATS:
            return False
        address.locked_until = now + policy.seconds
        return True
