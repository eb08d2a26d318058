"""Resolves and checks host names at the moment of connecting.

Promises: for a tenant's endpoint every address of the name is checked, and the connection goes to a checked address, so
changing the address between check and connection gains nothing; if one address is forbidden, the name is refused. The
name still decides which certificate is accepted. Tenants' names are resolved in their own threads: a slow name server
occupies one thread per name, however often it is called, and none that anything else needs.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from domain.endpoints.rules import EndpointRules, address_error

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host name for a port. Raises OSError."""

LOOKUPS_MAX = 32


class ForbiddenAddressError(OSError):
    """A name resolves to an address that a tenant's endpoint must not use. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        """reason: such as `private-address`."""
        super().__init__(reason)
        self.reason = reason


def checked_lookup(lookup: Lookup, rules: EndpointRules, *, self_hosted: bool = False) -> Lookup:
    """Return a lookup of the endpoints that tenants chose. It raises ForbiddenAddressError, too.

    rules: the private hosts that are allowed. self_hosted: the servers are the operator's or the tenant's own.
    """

    async def checked(host: str, port: int) -> Sequence[str]:
        addresses = await lookup(host, port)
        for address in addresses:
            if error := address_error(address, host, port, rules, self_hosted=self_hosted):
                raise ForbiddenAddressError(error)
        return addresses

    return checked


def addresses_of(host: str) -> Sequence[str]:
    """Return the addresses of a host name from the system's resolver. Blocks. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class SystemLookup:
    """Resolves host names with the system's resolver, for one event loop.

    Concurrent calls for the same name share one lookup. At most `most` names are resolved at a time; further calls
    wait, within their own time limits. A cancelled call leaves its thread running, since a system lookup cannot be
    interrupted.
    """

    def __init__(self, find: Callable[[str], Sequence[str]] = addresses_of, most: int = LOOKUPS_MAX) -> None:
        """find: blocks, and runs in a thread. most: concurrent lookups."""
        self._find = find
        self._most = most
        self._under_way: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of `host`, the same for every port. Raises OSError."""
        while host not in self._under_way and len(self._under_way) >= self._most:
            await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
        result = self._under_way.get(host)
        if result is None:
            result = self._begin(host)
        return await asyncio.shield(result)

    def _begin(self, host: str) -> asyncio.Future[Sequence[str]]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Sequence[str]] = loop.create_future()

        def end(found: Sequence[str] | OSError) -> None:
            del self._under_way[host]
            if isinstance(found, OSError):
                result.set_exception(found)
                result.exception()  # marks it as retrieved, in case all callers were cancelled
            else:
                result.set_result(found)

        def look_up() -> None:
            found: Sequence[str] | OSError
            try:
                found = self._find(host)
            except OSError as error:
                found = error
            except Exception:  # noqa: BLE001  for example a name that cannot be encoded
                found = OSError("the name cannot be resolved")
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(end, found)

        # A daemon thread, so that a hanging lookup does not keep the process alive.
        threading.Thread(target=look_up, name="look up a tenant's endpoint", daemon=True).start()
        self._under_way[host] = result
        return result
