"""Checks the addresses of issuers at the moment of connecting, for aiohttp."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from domain.endpoints.rules import EndpointRules
from keyledger.llm.wire.dialling import Lookup, checked_lookup


class CheckedResolver(AbstractResolver):
    """A checked lookup as aiohttp takes it."""

    def __init__(self, rules: EndpointRules, lookup: Lookup) -> None:
        """rules: the private hosts that are allowed."""
        self._lookup = checked_lookup(lookup, rules)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises ForbiddenAddressError, and OSError if it does not resolve."""
        return [_result(host, port, address) for address in await self._lookup(host, port)]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
