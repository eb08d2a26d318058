"""Sends requests to providers; the only module that puts a key on the wire.

Promises: no request is sent without an open lease, to an origin other than the lease's, or twice under one lease (the
one exception is in `connector`); redirects are not followed, and proxies and cookies are not used. No request with a
method that has no body carries one. Connections to a tenant's endpoint go to a checked address only. A kept connection
belongs to one tenant, one version of a credential and one origin; none holds a key. No exception raised here holds a
key, nor does its traceback.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import aiohttp
import httpx
from yarl import URL

from domain.calls.native import BODILESS_METHODS
from domain.endpoints.addresses import address_in
from domain.endpoints.rules import EndpointRules, address_error
from keyledger.llm.requests.origin import origin_of
from keyledger.llm.wire.connector import DIALLING, Dialling, LendingConnector
from keyledger.llm.wire.dialling import CheckedResolver, ForbiddenAddressError, Lookup, SystemLookup
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.observation import note_failure
from keyledger.llm.wire.provider_connection import ProviderConnection, purpose_of

READ_AHEAD = 8 * 1024
"""Bytes of a response that are received ahead of its reader; twice as many stop the connection."""
WHOLE_MAX = 256 * 1024
"""Bytes of the longest body that is handed to the connection in one piece."""
_PIECE = 64 * 1024

_NOT_ADDED = ("content-type", "user-agent")


class CallFailedError(Exception):
    """The request was not sent, or the response was not a success. The lease's observation says why."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds. answer: for a complete response, or for each piece of a stream."""

    connect: float = 5.0
    answer: float = 600.0


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
        self._idle = idle or IdleConnections()
        # Separate: a connection opened with fewer checks, or under other rules, must not be reused for a stricter one.
        self._sessions: dict[tuple[EndpointRules | None, bool], aiohttp.ClientSession] = {}

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
    ) -> aiohttp.ClientResponse | None:
        """Send the one request of a lease and return the response once its head has arrived.

        headers: without the key; the header for the key is dropped from them. deadline: in the event loop's time.
        Returns None if there is no response; the lease's observation says why. Raises CallFailedError for a request
        that the lease does not allow. Errors of aiohttp are noted and a cancellation is raised as a new exception,
        since their tracebacks reach the headers with the key.
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
    ) -> tuple[aiohttp.ClientResponse | None, ProviderConnection | None]:
        """Do as `send` does, and return the connection, too, which an answer with status 101 leaves to the caller."""
        dialling = _begun(lease, method, url, content)
        body, framing = _in_pieces(content)
        of_this_call = DIALLING.set(dialling)
        cancelled: tuple[object, ...] | None = None
        try:
            if lease.checked:
                self._check_literal(lease)
            async with asyncio.timeout_at(deadline):
                answer = await self._session(checked=lease.checked, self_hosted=lease.self_hosted).request(
                    method,
                    url,
                    data=body,
                    headers=[*(one for one in headers if one[0] != lease.header.name), *framing, _key_header(lease)],
                    allow_redirects=False,
                )
            if dialling.used is not None:
                dialling.used.answered(answer)
            return answer, dialling.used
        except asyncio.CancelledError as error:
            cancelled = error.args
        except Exception as error:  # noqa: BLE001  only the kind of the error may leave
            note_failure(lease.observation, error)
        finally:
            DIALLING.reset(of_this_call)
            dialling.used = None  # the connection keeps the context it was opened in, and this in it
        if cancelled is not None:
            raise asyncio.CancelledError(*cancelled)
        return None, None

    async def aclose(self) -> None:
        """Close all connections."""
        sessions, self._sessions = self._sessions, {}
        self._idle.close([session.connector for session in sessions.values()])
        for session in sessions.values():
            await session.close()

    def _check_literal(self, lease: Lease) -> None:
        """Check an endpoint that is an IP address: no resolver is called for those."""
        host, port = lease.origin.host, lease.origin.port
        if address_in(host) is None:
            return
        if reason := address_error(host, host, port, self._rules(), self_hosted=lease.self_hosted):
            raise ForbiddenAddressError(reason)

    def _session(self, *, checked: bool, self_hosted: bool) -> aiohttp.ClientSession:
        rules = self._rules() if checked else None
        kind = (rules, self_hosted)
        if kind not in self._sessions:
            resolver = None if rules is None else CheckedResolver(rules, self._lookup, self_hosted=self_hosted)
            self._sessions[kind] = aiohttp.ClientSession(
                connector=LendingConnector(self._idle, resolver=resolver, use_dns_cache=not checked, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect),
                trust_env=False,
                auto_decompress=False,  # bodies are inflated in steps, see `inflating`
                read_bufsize=READ_AHEAD,
                skip_auto_headers=_NOT_ADDED,
            )
        return self._sessions[kind]

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _begun(lease: Lease, method: str, url: URL, content: bytes | AsyncIterable[bytes] | None) -> Dialling:
    """Note in the lease that its request is sent. Raises CallFailedError for one that must not be."""
    reason = lease.refused(origin_of(url)) or ("body-not-sent" if content and method in BODILESS_METHODS else None)
    if reason:
        if not lease.observation.sent:
            lease.observation.failure = reason
        raise CallFailedError(reason)
    assert lease.secret is not None  # noqa: S101  a closed lease has been refused
    lease.observation.sent = True
    return Dialling(purpose_of(lease.owner, lease.secret, lease.origin), lease.observation)


class _InPieces:
    """A long body in pieces. Other tasks run between two of them, and it can be sent a second time."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _PIECE):
            yield self._content[start : start + _PIECE]


def _in_pieces(
    content: bytes | AsyncIterable[bytes] | None,
) -> tuple[bytes | AsyncIterable[bytes] | None, list[tuple[str, str]]]:
    """Return the body as it is sent, and the headers that frame it where aiohttp does not set them."""
    if not isinstance(content, bytes) or len(content) <= WHOLE_MAX:
        return content, []
    return _InPieces(content), [("content-length", str(len(content)))]


def _key_header(lease: Lease) -> tuple[str, str]:
    assert lease.secret is not None  # noqa: S101  a closed lease has been refused
    return lease.header.name, lease.header.prefix + lease.secret.reveal()
