"""Sends requests to providers; the only module that puts a key on the wire.

Promises: no request is sent without an open lease, to an origin other than the lease's, or twice under one lease; only
one whose method is idempotent is sent a second time, on a new connection, and only if its first one had served other
calls and the provider ended it before a byte of an answer. Redirects are not followed, and proxies and cookies are not
used. No request with a method that has no body carries one. Connections to a tenant's endpoint go to a checked address
only. A kept connection belongs to one tenant, one version of a credential and one origin; none holds a key. No
exception raised here holds a key, nor does its traceback.
Standard: RFC 9112, section 9.3.1 (retrying requests).
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import httpx
from yarl import URL

from domain.calls.native import BODILESS_METHODS
from domain.endpoints.addresses import address_in
from domain.endpoints.rules import EndpointRules, address_error
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.requests.origin import origin_of
from keyledger.llm.wire.connector import Connector
from keyledger.llm.wire.dialling import ForbiddenAddressError, Lookup, SystemLookup
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.observation import note_failure
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.provider_call import LOST
from keyledger.llm.wire.provider_connection import ProviderConnection
from keyledger.llm.wire.purpose import purpose_of
from keyledger.llm.wire.request_bytes import is_chunked, request_head

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class CallFailedError(Exception):
    """The request was not sent, or the response was not a success. The lease's observation says why."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds. answer: for a complete response, or for each piece of a stream."""

    connect: float = 5.0
    answer: float = 600.0


@dataclass(frozen=True, slots=True)
class _Request:
    """One request without its key. headers: names in lower case."""

    method: str
    url: URL
    headers: Sequence[tuple[str, str]]
    content: bytes | AsyncIterable[bytes] | None

    def head(self, lease: Lease) -> bytes:
        """Return the bytes of its head, with the key."""
        assert lease.secret is not None  # noqa: S101  a closed lease has been refused
        headers = [one for one in self.headers if one[0] != lease.header.name]
        headers.append((lease.header.name, lease.header.prefix + lease.secret.reveal()))
        return request_head(self.method, self.url, headers, self.content)

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time."""
        return self.method in _IDEMPOTENT and (self.content is None or isinstance(self.content, bytes))


class Dispatcher:
    """Sends the requests of one event loop."""

    def __init__(
        self,
        rules: Callable[[], EndpointRules],
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
        idle: IdleConnections | None = None,
    ) -> None:
        """rules: returns the private hosts that tenants' endpoints may use now.

        lookup: by default the system's resolver. idle: keeps connections between calls.
        """
        self._rules = rules
        self._timeouts = timeouts or Timeouts()
        self._lookup = lookup or SystemLookup()
        self._own_lookup = SystemLookup()
        """Of the operator's addresses: slow name servers of tenants must not hold them up."""
        self._idle = idle or IdleConnections()
        # Separate: a connection opened with fewer checks, or under other rules, must not be reused for a stricter one.
        self._connectors: dict[tuple[EndpointRules | None, bool], Connector] = {}

    @property
    def pause(self) -> float:
        """The longest wait for a piece of an answer, in seconds."""
        return self._timeouts.answer

    def deadline(self) -> float:
        """Return the deadline of a call that starts now, in the event loop's time."""
        return asyncio.get_running_loop().time() + self._timeouts.answer

    async def send(
        self,
        lease: Lease,
        method: str,
        url: URL,
        headers: Sequence[tuple[str, str]],
        content: bytes | AsyncIterable[bytes] | None,
        deadline: float,
    ) -> ProviderAnswer | None:
        """Send the one request of a lease and return the response once its head has arrived.

        headers: without the key; the header for the key is dropped from them. deadline: in the event loop's time.
        Returns None if there is no response; the lease's observation says why. Raises CallFailedError for a request
        that the lease does not allow. Errors of the connection are noted and a cancellation is raised as a new
        exception, since their tracebacks reach the headers with the key.
        """
        answer, _ = await self.open(lease, method, url, headers, content, deadline)
        return answer

    async def open(
        self,
        lease: Lease,
        method: str,
        url: URL,
        headers: Sequence[tuple[str, str]],
        content: bytes | AsyncIterable[bytes] | None,
        deadline: float,
    ) -> tuple[ProviderAnswer | None, ProviderConnection | None]:
        """Do as `send` does, and return the connection, too, which an answer with status 101 leaves to the caller."""
        _begin(lease, method, url, content)
        cancelled: tuple[object, ...] | None = None
        try:
            if lease.checked:
                self._check_literal(lease)
            async with asyncio.timeout_at(deadline):
                return await self._sent(lease, _Request(method, url, headers, content))
        except asyncio.CancelledError as error:
            cancelled = error.args
        except Exception as error:  # noqa: BLE001  only the kind of the error may leave
            note_failure(lease.observation, error)
        if cancelled is not None:
            raise asyncio.CancelledError(*cancelled)
        return None, None

    async def aclose(self) -> None:
        """Close all connections."""
        connectors, self._connectors = self._connectors, {}
        self._idle.close([*connectors.values()])
        await asyncio.sleep(0)  # in which the event loop ends what was closed

    async def _sent(self, lease: Lease, request: _Request) -> tuple[ProviderAnswer, ProviderConnection]:
        assert lease.secret is not None  # noqa: S101  a closed lease has been refused
        purpose = purpose_of(lease.owner, lease.secret, lease.origin)
        connector = self._connector(checked=lease.checked, self_hosted=lease.self_hosted)
        connection = connector.kept(purpose) or await connector.open(purpose)
        try:
            return await _asked(connection, lease, request), connection
        except InvalidAnswerError as error:
            again = error.reason == LOST and connection.served and not connection.received and request.repeatable
            if not again or lease.secret is None:
                raise
        connection = await connector.open(purpose)
        return await _asked(connection, lease, request), connection

    def _check_literal(self, lease: Lease) -> None:
        """Check an endpoint that is an IP address: no resolver is called for those."""
        host, port = lease.origin.host, lease.origin.port
        if address_in(host) is None:
            return
        if reason := address_error(host, host, port, self._rules(), self_hosted=lease.self_hosted):
            raise ForbiddenAddressError(reason)

    def _connector(self, *, checked: bool, self_hosted: bool) -> Connector:
        rules = self._rules() if checked else None
        kind = (rules, self_hosted)
        if kind not in self._connectors:
            lookup = self._lookup if checked else self._own_lookup
            self._connectors[kind] = Connector(
                self._idle, lookup, lambda: self._tls, self._timeouts.connect, rules, self_hosted=self_hosted
            )
        return self._connectors[kind]

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


async def _asked(connection: ProviderConnection, lease: Lease, request: _Request) -> ProviderAnswer:
    """Send a request on a connection and return its answer."""
    content, bodiless = request.content, request.method == "HEAD"
    chunked = is_chunked(request.headers, content)
    try:
        head = request.head(lease)
    except ValueError:
        connection.close("closed")
        raise
    return await connection.ask(head, content, lease.observation, bodiless=bodiless, chunked=chunked)


def _begin(lease: Lease, method: str, url: URL, content: bytes | AsyncIterable[bytes] | None) -> None:
    """Note in the lease that its request is sent. Raises CallFailedError for one that must not be."""
    reason = lease.refused(origin_of(url)) or ("body-not-sent" if content and method in BODILESS_METHODS else None)
    if reason:
        if not lease.observation.sent:
            lease.observation.failure = reason
        raise CallFailedError(reason)
    lease.observation.sent = True
