"""The connections of one process, and which of them make room when there are too many.

A connection is unproved until a request on it has presented a valid key. Promises: too many unproved connections from
one address cost that address its oldest ones, idle ones first, but none that came within `PATIENCE_S`: a client with a
key may open many connections before it sends anything. Too many in all cost the oldest unproved ones in the same order,
and then those that just came, from the most crowded address first. Strangers never cost a proved connection.
Proved connections of one key, and those of all keys, are limited to their shares: beyond, an idle one makes room, the
longest unused of the key that has the most, and none on which a request is under way. Only calls for which no idle
connection makes room are refused, and other requests of a key whose own share is taken by requests under way. Each key
leaves room to the others (`leaves_room`). Proxies are not counted by address, because all clients come from theirs.
Nothing is decided while connections arrive, but once what arrived with them has been read (`make_room`).
"""

import time
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any, Protocol, cast

from starlette.types import Scope

from api.front.bounds.by_key import ByKey
from api.front.bounds.chosen import Bounds, leaves_room
from api.front.bounds.reached import Bound
from api.front.proxies import TrustedProxies
from domain.audit.client_network import network_of

_PLACE = "keyledger.place"
CONNECTIONS = "keyledger.connections"
"""The name under which the server finds the register in the state of the application."""

PATIENCE_S = 1.0
_TURNS = 3
"""Turns of the event loop after which what had arrived with a connection has been read."""
_BURST = 2
"""How many times the number of connections may be there for a moment, until it is decided who leaves."""


class Connection(Protocol):
    """A connection, as far as the register deals with it."""

    def is_idle(self) -> bool:
        """Say whether no request on it is being answered, and no answer is on its way."""
        ...

    def make_way(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """The register. To be used from one event loop."""

    def __init__(
        self,
        bounds: Callable[[], Bounds],
        proxies: Callable[[], TrustedProxies],
        reached: Callable[[Bound], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """bounds, proxies: return those in force. reached: called for each connection closed or refused.

        now: a clock in seconds that never goes back.
        """
        self.bounds = bounds
        self.reached = reached
        self._proxies = proxies
        self._now = now
        self._unproved: dict[Place, None] = {}  # the oldest first
        self._of_address: dict[str, dict[Place, None]] = {}
        self._by_key = ByKey[Place](lambda place: place.connection.is_idle())
        self._count = 0
        self._deciding = False

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def unproved(self) -> int:
        """How many of them have presented no valid key."""
        return len(self._unproved)

    @property
    def proved(self) -> int:
        """How many are counted for a service key."""
        return self._by_key.count

    @property
    def addresses(self) -> int:
        """How many addresses those without a key come from."""
        return len(self._of_address)

    def enter(self, address: str | None, connection: Connection) -> "Place | None":
        """Return a place for a new connection; None where there is none. address: of the peer."""
        if self._count >= _BURST * self.bounds().connections:
            self.reached(Bound.CONNECTIONS)
            return None
        place = Place(self, connection, self._counted_address(address), self._now())
        self._count += 1
        self._unproved[place] = None
        if place.address is not None:
            self._of_address.setdefault(place.address, {})[place] = None
        return place

    def make_room_soon(self, place: "Place", call_soon: Callable[..., object]) -> None:
        """Have `make_room` called if there are too many since `place` was taken. call_soon: of the event loop."""
        bounds = self.bounds()
        of_address = self._of_address.get(place.address or "", ())
        crowded = self._count > bounds.connections or len(of_address) > bounds.address_connections
        if crowded and not self._deciding:
            self._deciding = True
            self._after(_TURNS, call_soon)

    def _after(self, turns: int, call_soon: Callable[..., object]) -> None:
        if turns:
            call_soon(self._after, turns - 1, call_soon)
        else:
            self.make_room()

    def make_room(self) -> None:
        """Close connections until the bounds hold."""
        self._deciding = False
        bounds = self.bounds()
        for places in [one for one in self._of_address.values() if len(one) > bounds.address_connections]:
            for place in self._known(places, len(places) - bounds.address_connections):
                self._close(place, Bound.ADDRESS_CONNECTIONS)
        if self._count > bounds.connections:
            for place in self._known(self._unproved, self._count - bounds.connections):
                self._close(place, Bound.CONNECTIONS)
            for _ in range(min(self._count - bounds.connections, self.proved - bounds.share(bounds.call_share))):
                self._close_idle(self._by_key.idle(), Bound.CONNECTIONS)
            for place in self._newcomers(self._count - bounds.connections):
                self._close(place, Bound.CONNECTIONS)

    def _known(self, places: "Iterable[Place]", number: int) -> "list[Place]":
        """Return up to so many of those that had time to present a key. places: the oldest first."""
        until = self._now() - PATIENCE_S
        idle, served = list[Place](), list[Place]()
        for place in places:
            if place.since > until or len(idle) >= number:
                break
            (idle if place.connection.is_idle() else served).append(place)
        return [*idle, *served][:number]

    def _newcomers(self, number: int) -> "list[Place]":
        """Return up to so many others, those of the most crowded addresses first."""
        if number <= 0:
            return []
        crowds = sorted(self._of_address.values(), key=len, reverse=True)
        ordered = [*chain(*crowds), *(place for place in self._unproved if place.address is None)]
        idle = list(islice((place for place in ordered if place.connection.is_idle()), number))
        served = (place for place in ordered if not place.connection.is_idle())
        return [*idle, *islice(served, number - len(idle))]

    def prove(self, place: "Place", key: str, *, calling: bool, spared: bool) -> bool:
        """Note that a request presented a valid key. Return False if its bound of connections is reached.

        key: its name. calling: the request is a call. spared: it is an administrator's, which no share limits.
        """
        before = place.key
        if before is not None:
            self._by_key.forget(place, before)
        bound = self._lack(key, calling=calling)
        if bound is not None and not spared:
            self.reached(bound)
            if before is not None:
                self._by_key.use(place, before)
            return False
        self._by_key.use(place, key)
        self._forget_unproved(place)
        place.key, place.calling = key, calling
        return True

    def use(self, place: "Place", key: str) -> None:
        """Note that another request of the same kind came on a proved connection."""
        self._by_key.use(place, key)

    def _lack(self, key: str, *, calling: bool) -> Bound | None:
        """Return the bound that leaves no room for one more with a key, after an idle one may have made room."""
        bounds, own = self.bounds(), self._by_key.of(key)
        most = bounds.share(bounds.key_share)
        if own >= most:
            made = self._close_idle(self._by_key.idle_of(key), Bound.KEY_CONNECTIONS)
            return None if made else Bound.KEY_CONNECTIONS
        if leaves_room(own, most, self.proved, bounds.share(bounds.call_share)):
            return None
        made = self._close_idle(self._by_key.idle(), Bound.CALLS)
        return Bound.CALLS if calling and not made else None

    def _close_idle(self, place: "Place | None", bound: Bound) -> bool:
        if place is not None:
            self._close(place, bound)
        return place is not None

    def leave(self, place: "Place") -> None:
        """Forget a connection that has ended."""
        self._count -= 1
        if place.key is not None:
            self._by_key.forget(place, place.key)
        self._forget_unproved(place)

    def _close(self, place: "Place", bound: Bound) -> None:
        self.reached(bound)
        place.connection.make_way()
        place.leave()

    def _forget_unproved(self, place: "Place") -> None:
        if self._unproved.pop(place, place) is place or place.address is None:
            return
        of_address = self._of_address[place.address]
        del of_address[place]
        if not of_address:
            del self._of_address[place.address]

    def _counted_address(self, address: str | None) -> str | None:
        return None if address is None or self._proxies().is_proxy(address) else network_of(address)


class Place:
    """One connection in the register."""

    __slots__ = ("_left", "_register", "address", "calling", "connection", "key", "since")

    def __init__(self, register: Connections, connection: Connection, address: str | None, since: float) -> None:
        self._register = register
        self._left = False
        self.connection = connection
        self.address = address
        self.since = since
        self.key: str | None = None
        self.calling = False

    def put_into(self, state: dict[str, Any]) -> None:
        """Make this the place of a request. state: the `state` of its scope."""
        state[_PLACE] = self

    def prove(self, key: str, *, calling: bool, spared: bool) -> bool:
        """Note a valid key; see `Connections.prove`."""
        if self._left:
            return True
        if self.key == key and (self.calling or not calling):
            self._register.use(self, key)
            return True
        return self._register.prove(self, key, calling=calling, spared=spared)

    def leave(self) -> None:
        """Give the place up. Does nothing the second time."""
        if not self._left:
            self._left = True
            self._register.leave(self)


def place_of(scope: Scope) -> Place | None:
    """Return the place of the connection that a request came on; None behind another server than ours."""
    return cast("Place | None", scope.get("state", {}).get(_PLACE))
