"""Which addresses a name leads to, looked up and checked in the moment of connecting.

Promises: for a tenant's endpoint every address of the name is checked, and the connection goes to a checked one, so a
name that changes its address between check and connection gains nothing; one bad address refuses them all. The name
still decides which certificate is accepted. Names of tenants are looked up in threads of their own: one that is slow
to answer, however often it is called, holds one thread, and never one that anything else waits for.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from aiohttp.abc import AbstractResolver, ResolveResult

from domain.endpoints.rules import EndpointRules, address_fault

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host name for a port. Raises OSError."""

LOOKUPS_MAX = 32


class ForbiddenAddressError(OSError):
    """A name leads to an address that a tenant's endpoint must not reach. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CheckedResolver(AbstractResolver):
    """Resolves names for connections to endpoints that tenants chose, of self-hosted providers or of the others."""

    def __init__(self, rules: EndpointRules, lookup: Lookup, *, self_hosted: bool = False) -> None:
        self._rules = rules
        self._lookup = lookup
        self._self_hosted = self_hosted

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises ForbiddenAddressError, and OSError when there are none."""
        addresses = await self._lookup(host, port)
        for address in addresses:
            if fault := address_fault(address, host, port, self._rules, self_hosted=self._self_hosted):
                raise ForbiddenAddressError(fault)
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing to close."""


def addresses_of(host: str) -> Sequence[str]:
    """Return the addresses of a name as the machine knows them, which may take long. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class SystemLookup:
    """Looks names up as the machine does, for one event loop.

    Calls for a name that is being looked up wait for the same result. At most `most` names are looked up at a time;
    who comes then waits for one to end, within its own time limit. A caller that gives up leaves the thread behind: a
    lookup of the system cannot be broken off.
    """

    def __init__(self, find: Callable[[str], Sequence[str]] = addresses_of, most: int = LOOKUPS_MAX) -> None:
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
                result.exception()  # perhaps nobody waits for it any more
            else:
                result.set_result(found)

        def look_up() -> None:
            found: Sequence[str] | OSError
            try:
                found = self._find(host)
            except OSError as error:
                found = error
            except Exception:  # noqa: BLE001  a name that cannot be encoded, for one
                found = OSError("the name cannot be looked up")
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(end, found)

        # A daemon, so that a lookup that hangs does not keep the process from ending.
        threading.Thread(target=look_up, name="look up a tenant's endpoint", daemon=True).start()
        self._under_way[host] = result
        return result


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
