"""Everything that callers hold: calls under way, by tenant, provider and key, and bytes of long bodies, by service key.

Promises: what a request took is given back exactly once, when `Held.release` is called, however the request ended.
A request that reaches a bound takes nothing, and its error names the bound and what lifts it. Requests of
administrators that are not calls take no share. However few keys send calls to a provider, and however few tenants
send them with one key, they leave room for another (`leaves_room`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from api.front.bounds.chosen import MIB, Bounds, leaves_room
from api.front.bounds.node_counts import Counts, OwnCounts
from api.front.bounds.reached import Bound
from api.front.problems import HttpError

_SOON = "1"
"""Seconds after which a place that is taken may be free again; there is no way to know."""
_SHORT = 64 * 1024
"""Bytes of a body that is not counted: as many as there may be calls take little memory."""

_Name = TypeVar("_Name")


class Shares:
    """Everything held in one process, and the rates of its node. To be used from one event loop."""

    def __init__(self, reached: Callable[[Bound], None], counts: Counts | None = None) -> None:
        """reached: called for each request that a bound refuses. counts: of what all processes of a node count."""
        self.reached = reached
        self.calls = 0
        self.calls_of: Counter[tuple[str, ...]] = Counter()
        self.bytes = 0
        self.bytes_of_key: Counter[str] = Counter()
        self.turns: dict[str, asyncio.Lock] = {}
        counts = counts or OwnCounts()
        self.key_rates, self.tenant_rates, self.provider_rates = map(counts.rates, ("key", "tenant", "provider"))

    def hold(self, key: str, bounds: Bounds) -> "Held":
        """Begin a request. key: its service key's name. Raises HttpError if the key has sent too many lately."""
        wait = self.key_rates.admit(key, bounds.key_requests)
        if wait:
            limit = f"{bounds.key_requests} requests a minute (KEY_REQUESTS_PER_MINUTE)"
            raise self.refused(Bound.KEY_RATE, f"This service key has sent its {limit}.", wait)
        return Held(self, key, bounds)

    def refused(self, bound: Bound, detail: str, wait: int | str = _SOON, code: str = "limit-reached") -> HttpError:
        """Return the error for a request that a bound refuses, and count it."""
        self.reached(bound)
        return HttpError(code, detail, {"Retry-After": str(wait)})


class Held:
    """Everything that one request holds."""

    def __init__(self, shares: Shares, key: str, bounds: Bounds) -> None:
        self._shares = shares
        self._key = key
        self._bounds = bounds
        self._call: tuple[tuple[str, ...], ...] = ()
        self._size = 0
        self._counted = 0

    @property
    def key(self) -> str:
        """The name of the service key."""
        return self._key

    def begin_call(self, tenant_id: str, provider: str) -> None:
        """Take a place for a call as a tenant to a provider. Raises HttpError if there is none."""
        shares = self._shares
        call = (
            ("tenant", tenant_id),
            ("provider", provider),
            ("key", self._key, provider),
            ("tenant", tenant_id, self._key, provider),
        )
        self._find_places(*(shares.calls_of[name] for name in call))
        self._within_rates(tenant_id, provider)
        shares.calls += 1
        for name in call:
            shares.calls_of[name] += 1
        self._call = call

    def _find_places(self, of_tenant: int, to_provider: int, of_key: int, of_both: int) -> None:
        """Raise HttpError unless one more call fits. of_key, of_both: of the calls to the provider."""
        shares, bounds = self._shares, self._bounds
        all_calls, tenant_most, provider_most = (
            bounds.share(percent) for percent in (bounds.call_share, bounds.tenant_share, bounds.provider_share)
        )
        key_most = bounds.provider_calls_of_key
        if of_tenant >= tenant_most:
            detail = f"This tenant has {tenant_most} calls under way, as many as it may (TENANT_SHARE). Wait for one."
            raise shares.refused(Bound.TENANT_CALLS, detail)
        if not leaves_room(of_key, key_most, to_provider, provider_most):
            detail = (
                f"Of the {provider_most} calls to this provider that may be under way, {to_provider} are, {of_key} of "
                "them with this service key, which leaves the rest to other keys (PROVIDER_SHARE). It may be slow to "
                "answer."
            )
            raise shares.refused(Bound.PROVIDER_CALLS, detail, code="provider-busy")
        if not leaves_room(of_both, tenant_most, of_key, key_most):
            detail = (
                f"Of the {key_most} calls to this provider that this service key may have under way, this tenant has "
                f"{of_both} and leaves the rest to other tenants (PROVIDER_SHARE). The provider may be slow to answer."
            )
            raise shares.refused(Bound.PROVIDER_CALLS, detail, code="provider-busy")
        if shares.calls >= all_calls:
            detail = f"{all_calls} calls are under way, as many as this process may have (CALL_SHARE)."
            raise shares.refused(Bound.CALLS, detail, code="provider-busy")

    def take_bytes(self, size: int) -> None:
        """Count bytes of a body that are held from now on. Raises HttpError if there is no room for them.

        Those of a short body are not counted, so that it is served whatever others hold.
        """
        self.keep_bytes(self._size + size)

    def keep_bytes(self, size: int) -> None:
        """Count so many bytes from now on, in place of those counted so far. Raises HttpError as `take_bytes` does."""
        self._size = size
        size = (self._size if self._size > _SHORT else 0) - self._counted
        shares, bounds = self._shares, self._bounds
        if size > 0 and shares.bytes_of_key[self._key] + size > bounds.key_body_bytes:
            limit = f"{bounds.key_body_bytes // MIB} MiB (KEY_BODY_MIB)"
            raise shares.refused(Bound.KEY_BODIES, f"Requests of this service key hold bodies of {limit}.")
        if size > 0 and shares.bytes + size > bounds.body_bytes:
            detail = f"Requests hold bodies of {bounds.body_bytes // MIB} MiB (BODY_MIB), as much as they may."
            raise shares.refused(Bound.BODIES, detail)
        if size:
            self._counted += size
            shares.bytes += size
            _give(shares.bytes_of_key, self._key, -size)

    def turn(self) -> asyncio.Lock:
        """Return the lock under which this key's long pieces of work are done, one after the other."""
        return self._shares.turns.setdefault(self._key, asyncio.Lock())

    def release(self) -> None:
        """Give everything back. Does nothing the second time."""
        shares = self._shares
        call, self._call = self._call, ()
        if call:
            shares.calls -= 1
            for name in call:
                _give(shares.calls_of, name, 1)
        size, self._counted = self._counted, 0
        if size:
            shares.bytes -= size
            _give(shares.bytes_of_key, self._key, size)

    def _within_rates(self, tenant_id: str, provider: str) -> None:
        shares, bounds = self._shares, self._bounds
        if wait := shares.tenant_rates.admit(tenant_id, bounds.tenant_calls):
            limit = f"{bounds.tenant_calls} calls a minute (TENANT_CALLS_PER_MINUTE)"
            raise shares.refused(Bound.TENANT_RATE, f"This tenant has made its {limit}.", wait)
        if wait := shares.provider_rates.admit(provider, bounds.provider_calls):
            limit = f"{bounds.provider_calls} calls a minute (PROVIDER_CALLS_PER_MINUTE)"
            raise shares.refused(Bound.PROVIDER_RATE, f"This provider has had its {limit}.", wait, "provider-busy")


def _give(counted: Counter[_Name], name: _Name, amount: int) -> None:
    counted[name] -= amount
    if not counted[name]:
        del counted[name]  # callers invent names of tenants
