"""The idle connections to providers of one process: at most so many, each for a short time, each for one purpose.

Promises: a call receives only a connection that was opened for its own purpose (see `provider_connection`). The first
call with a new version of a credential closes the connections of the version before it: idle ones at once, others after
their call. At most `most` connections are kept;
beyond that, the one that has been idle longest is closed. A connection that has been idle too long is closed within
about a second. Where anything arrived on an idle connection, all connections of that tenant to that provider end with
their calls for the next minute: what arrives later than the next request would look like its answer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge

from keyledger.llm.wire.provider_connection import UNEXPECTED, ProviderConnection
from keyledger.llm.wire.purpose import Purpose
from keyledger.settings.settings import IDLE_CONNECTIONS

DISTRUST_S = 60.0
"""Seconds for which a provider that sent something unasked loses its kept connections."""
_DISTRUSTED = "distrusted"
_SWEEP_S = 1.0

_Account = tuple[str, str, bool]
"""A tenant, a provider, and whether the key is the tenant's. The global key may serve some models of a tenant that has
its own key, so both can have connections at a time."""


def _default() -> int:
    return IDLE_CONNECTIONS


class IdleConnections:
    """Keeps connections between calls, for one event loop."""

    def __init__(
        self, most: Callable[[], int] = lambda: IDLE_CONNECTIONS, registry: CollectorRegistry | None = None
    ) -> None:
        """most: returns how many connections may be kept now; with 0, none. registry: where they are counted."""
        self._most = most
        self._idle: dict[Purpose, list[ProviderConnection]] = {}
        self._longest_idle_first: OrderedDict[ProviderConnection, None] = OrderedDict()
        self._open: dict[_Account, set[ProviderConnection]] = {}
        self._distrusted: dict[_Account, float] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        registry = registry or CollectorRegistry()
        kept = Gauge("keyledger_provider_connections_idle", "Idle connections to providers.", registry=registry)
        kept.set_function(lambda: len(self._longest_idle_first))
        self._closed = Counter(
            "keyledger_provider_connections_closed",
            "Idle connections to providers that were closed, by reason.",
            ("reason",),
            registry=registry,
        )

    def take(self, purpose: Purpose, opener: object) -> ProviderConnection | None:
        """Return a connection on which a call of this purpose may begin, the last used first, or None.

        opener: the connector of the call.
        """
        while (connection := self._last_used(purpose, opener)) is not None:
            self._remove(connection)
            connection.take()
            if connection.is_usable():
                return connection
            self._closed.labels("stale").inc()
            connection.close("stale")
        return None

    def opened(self, connection: ProviderConnection) -> None:
        """Note a new connection, and replace those of the version of the credential before it."""
        account = _account(connection.purpose)
        of_account = self._open.setdefault(account, set())
        for other in [*of_account]:
            if other.purpose[2:4] != connection.purpose[2:4]:
                older = (other.purpose.version or 0) > (connection.purpose.version or 0)
                (connection if older else other).retire("replaced")
        of_account.add(connection)
        if self._distrusted.get(account, 0.0) > asyncio.get_running_loop().time():
            connection.retire(_DISTRUSTED)

    def keep(self, connection: ProviderConnection) -> None:
        """Keep a connection whose call has ended."""
        self._idle.setdefault(connection.purpose, []).append(connection)
        self._longest_idle_first[connection] = None
        while len(self._longest_idle_first) > self._most():
            next(iter(self._longest_idle_first)).close("limit")
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def forget(self, connection: ProviderConnection, reason: str) -> None:
        """Forget an idle connection that is being closed."""
        self._remove(connection)
        self._closed.labels(reason).inc()
        if reason == UNEXPECTED:
            account = _account(connection.purpose)
            self._distrusted[account] = asyncio.get_running_loop().time() + DISTRUST_S
            for other in [*self._open.get(account, ())]:
                other.retire(_DISTRUSTED)

    def gone(self, connection: ProviderConnection) -> None:
        """Forget a connection that has ended."""
        account = _account(connection.purpose)
        of_account = self._open.get(account, set())
        of_account.discard(connection)
        if not of_account:
            self._open.pop(account, None)

    def close(self, openers: Collection[object]) -> None:
        """Close the connections that these connectors opened, also those that serve a call."""
        for connection in [one for of_account in self._open.values() for one in of_account if one.opener in openers]:
            connection.close("stopped")
        if self._sweeping is not None and not self._longest_idle_first:
            self._sweeping.cancel()
            self._sweeping = None

    def _last_used(self, purpose: Purpose, opener: object) -> ProviderConnection | None:
        for connection in reversed(self._idle.get(purpose, ())):
            if connection.opener is opener and connection.fresh():
                return connection
        return None

    def _remove(self, connection: ProviderConnection) -> None:
        del self._longest_idle_first[connection]
        same = self._idle[connection.purpose]
        if same[-1] is connection:
            same.pop()
        else:
            same.remove(connection)
        if not same:
            del self._idle[connection.purpose]

    def _sweep(self) -> None:
        self._sweeping = None
        loop = asyncio.get_running_loop()
        for connection in [*self._longest_idle_first]:
            if not connection.fresh():
                connection.close("expired")
        now = loop.time()
        self._distrusted = {account: until for account, until in self._distrusted.items() if until > now}
        if self._longest_idle_first or self._distrusted:
            self._sweeping = loop.call_later(_SWEEP_S, self._sweep)


def _account(purpose: Purpose) -> _Account:
    return purpose.tenant_id, purpose.provider, purpose.version is not None
