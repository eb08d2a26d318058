"""Which addresses a name leads to, looked up and checked in the moment of connecting.

Promises: for a tenant's endpoint every address of the name is checked, and the connection goes to a checked one, so a
name that changes its address between check and connection gains nothing; one bad address refuses them all. The name
still decides which certificate is accepted.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from domain.endpoints import EndpointRules, address_fault

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host name for a port. Raises OSError."""


class AddressRefused(OSError):
    """A name leads to an address that a tenant's endpoint must not reach. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CheckedResolver(AbstractResolver):
    """Resolves names for connections to endpoints that tenants chose."""

    def __init__(self, rules: EndpointRules, lookup: Lookup) -> None:
        self._rules = rules
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises AddressRefused, and OSError when there are none."""
        addresses = await self._lookup(host, port)
        for address in addresses:
            if fault := address_fault(address, host, port, self._rules):
                raise AddressRefused(fault)
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing to close."""


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Look a name up as the machine does."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
