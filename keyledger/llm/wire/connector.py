"""Opens connections for aiohttp and lends them out, in place of its own pool, which stays empty.

Promises: a request gets a connection of its call's purpose, or a new one. A request is sent once; only one whose method
is idempotent is sent a second time, on a new connection, and only if its first one had served other calls and the
provider ended it before a byte of an answer.
Standard: RFC 9112, section 9.3.1 (retrying requests).
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from domain.credentials.built_in_providers import BUILT_IN
from keyledger.llm.requests.origin import Origin, origin_of
from keyledger.llm.wire.borrowed import Borrowed
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.provider_connection import UNEXPECTED, ProviderConnection, Purpose

if TYPE_CHECKING:
    from aiohttp.tracing import Trace


KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: fewer than servers keep theirs (uvicorn, and so vLLM, 5), because a request on a
connection that is being closed fails."""
KEEP_ALIVE_PUBLIC = 30.0
"""The same for the public addresses of built-in providers: their front ends keep idle connections for a minute or more,
and a new connection costs a TLS handshake over the Internet."""

_PUBLIC = frozenset(origin_of(URL(row.base_url)) for row in BUILT_IN.values() if row.base_url is not None)


@dataclass(slots=True)
class Dialling:
    """The connection of one call. observation: of the call. used: the last connection that was lent to it."""

    purpose: Purpose
    observation: Observation
    used: ProviderConnection | None = None


DIALLING: ContextVar[Dialling] = ContextVar("keyledger_dialling")
"""The dialling of the running task's request. aiohttp has no argument that reaches its connector."""


class LendingConnector(aiohttp.TCPConnector):
    """A connector that lends one connection to one call at a time."""

    def __init__(self, idle: IdleConnections, **options: Any) -> None:
        """idle: keeps the connections. options: of `aiohttp.TCPConnector`."""
        super().__init__(limit=0, **options)
        self._idle_connections = idle

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  as aiohttp's own
    ) -> Connection:
        """Return a connection for the running task's call. Raises what aiohttp raises, and LookupError without one."""
        dialling = DIALLING.get()
        lent = self._next(dialling)
        if lent is None:
            opened = await super().connect(req, traces, timeout)
            keep_s = KEEP_ALIVE_PUBLIC if Origin(*dialling.purpose[-3:]) in _PUBLIC else KEEP_ALIVE
            lent = ProviderConnection(opened, self, dialling.purpose, keep_s, self._idle_connections)
            self._idle_connections.opened(lent)
            if not lent.begin():
                lent.close(UNEXPECTED)
                raise aiohttp.ClientResponseError(req.request_info, (), message="the provider spoke first")
        dialling.used = lent
        lent.observation = dialling.observation
        return cast("Connection", Borrowed(lent))

    def _next(self, dialling: Dialling) -> ProviderConnection | None:
        """Return an idle connection, None if a new one is to be opened. Raises ClientConnectionError."""
        used = dialling.used
        if used is None:
            return self._idle_connections.take(dialling.purpose, self)
        if not used.served or used.received:
            raise aiohttp.ClientConnectionError("the request may not be sent again")
        return None
