"""Opens connections to the providers of one kind of endpoint, and takes kept ones.

Promises: a call gets a connection of its purpose, or a new one, within the seconds for connecting. A connection to a
tenant's endpoint goes to a checked address. The name decides which certificate is accepted. Addresses are tried in
parallel (RFC 8305), so that one that does not answer costs a quarter of a second.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import aiohappyeyeballs
from yarl import URL

from domain.credentials.built_in_providers import BUILT_IN
from domain.endpoints.addresses import address_in
from domain.endpoints.rules import EndpointRules
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.requests.origin import Origin, origin_of
from keyledger.llm.wire.dialling import ForbiddenAddressError, Lookup, checked_lookup
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.provider_call import NOT_HTTP
from keyledger.llm.wire.provider_connection import UNEXPECTED, ProviderConnection
from keyledger.llm.wire.purpose import Purpose

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: fewer than servers keep theirs (uvicorn, and so vLLM, 5), because a request on a
connection that is being closed fails."""
KEEP_ALIVE_PUBLIC = 30.0
"""The same for the public addresses of built-in providers: their front ends keep idle connections for a minute or more,
and a new connection costs a TLS handshake over the Internet."""

_NEXT_ADDRESS_S = 0.25
_PUBLIC = frozenset(origin_of(URL(row.base_url)) for row in BUILT_IN.values() if row.base_url is not None)


class Connector:
    """Opens connections under one set of rules. Others must not use them, nor these those of others."""

    def __init__(
        self,
        idle: IdleConnections,
        lookup: Lookup,
        tls: Callable[[], ssl.SSLContext],
        seconds: float,
        rules: EndpointRules | None,
        *,
        self_hosted: bool,
    ) -> None:
        """idle: keeps connections. seconds: for connecting. rules: of a tenant's endpoints; None for others."""
        self._idle = idle
        self._lookup = lookup if rules is None else checked_lookup(lookup, rules, self_hosted=self_hosted)
        self._tls = tls
        self._seconds = seconds

    def kept(self, purpose: Purpose) -> ProviderConnection | None:
        """Return a kept connection on which a call may begin, or None."""
        return self._idle.take(purpose, self)

    async def open(self, purpose: Purpose) -> ProviderConnection:
        """Return a new connection. Raises OSError, TimeoutError, and InvalidAnswerError if the provider spoke first."""
        origin = Origin(*purpose[-3:])
        async with asyncio.timeout(self._seconds):
            found = await self._addresses(origin.host, origin.port)
            reached = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1)
            try:
                connection = await self._connected(reached, purpose, origin)
            except BaseException:
                reached.close()
                raise
        self._idle.opened(connection)
        if not connection.is_usable():
            connection.close(UNEXPECTED)
            raise InvalidAnswerError(NOT_HTTP)
        return connection

    async def _connected(self, reached: socket.socket, purpose: Purpose, origin: Origin) -> ProviderConnection:
        keep_s = KEEP_ALIVE_PUBLIC if origin in _PUBLIC else KEEP_ALIVE
        checks: dict[str, Any] = {}
        if origin.scheme == "https":
            checks = {"ssl": self._tls(), "server_hostname": origin.host.rstrip(".")}
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: ProviderConnection(self, purpose, keep_s, self._idle), sock=reached, **checks
        )
        return connection

    async def _addresses(self, host: str, port: int) -> list[Any]:
        """Return the addresses of a host as the system's sockets take them. Raises OSError."""
        if address_in(host) is not None:
            return _socket_addresses([host], port)
        try:
            return _socket_addresses(await self._lookup(host, port), port)
        except ForbiddenAddressError:
            raise
        except OSError:
            raise socket.gaierror(host) from None


def _socket_addresses(addresses: Sequence[str], port: int) -> list[Any]:
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port, 0, 0))
        if ":" in one
        else (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port))
        for one in addresses
    ]
