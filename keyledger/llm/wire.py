"""The one way out to providers: an HTTP client without keys, and the wire that adds the leased key.

Promises: no request leaves without a lease, to another origin than the lease's, twice under one lease, or with a header
that is not ours; redirects are not followed, proxies and cookies not used. A tenant's endpoint is connected to at a
checked address only. Callers see an answer with status 2xx, scrubbed of the key and of the provider's headers, checked
and written anew (`answers`), or `CallFailed`; what happened is in the lease's `seen`. Between two events of a stream
other tasks have their turn. No exception that leaves here, nor its traceback, holds a key.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp
import httpx
from yarl import URL

from domain.endpoints import EndpointRules, address_fault
from keyledger.llm.answers import checked_chat, checked_embeddings, checked_event
from keyledger.llm.bounds import EVENT_MAX, STREAM_EVENTS_MAX
from keyledger.llm.dialling import AddressRefused, CheckedResolver, Lookup, SystemLookup
from keyledger.llm.events import DONE, event_texts
from keyledger.llm.lease import Lease, Origin
from keyledger.llm.reading import Limits, Reading
from keyledger.llm.scrubbing import Scrubber
from keyledger.llm.seen import note_answer, note_failure
from keyledger.llm.structure import TOO_LARGE, AnswerRefused

AT_ONCE_MAX = 64 * 1024
"""Bytes of an answer that is checked in less time than another thread takes to begin."""
PIECE_MAX = 16 * 1024
KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: less than servers keep theirs (uvicorn, under vLLM, 5), because a request that
meets a closing connection fails and is not repeated."""

_PASSED_ON = ("accept", "anthropic-beta", "anthropic-version", "content-type")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class CallFailed(Exception):
    """The request was not sent, or not answered with 2xx. The lease's `seen` says what happened."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds. `answer` covers a whole answer, or in a stream the wait for each piece."""

    connect: float = 5.0
    answer: float = 600.0


class Wire:
    """The connection pools of one event loop, and the right to use them.

    rules: which private hosts tenants' endpoints may lead to. lookup: how their names are resolved, by the machine when
    left out.
    """

    def __init__(
        self,
        rules: EndpointRules,
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._rules = rules
        self._timeouts = timeouts or Timeouts()
        self._lookup = lookup or SystemLookup()
        # Apart: a connection opened unchecked for the operator's address must not serve a tenant's.
        self._pools: dict[bool, aiohttp.ClientSession] = {}

    @contextmanager
    def lend(self, lease: Lease) -> Iterator[None]:
        """Let the running call send its one request through `OUTLET` while the block lasts; close the lease then.

        Tasks started inside keep references to the lease, but not to the key.
        """
        token = _LENT.set((self, lease))
        try:
            yield
        finally:
            _LENT.reset(token)
            lease.close()

    async def send(self, lease: Lease, request: httpx.Request) -> httpx.Response:
        """Send a request under a lease. Raises CallFailed."""
        if reason := lease.refusal(origin_of(request.url)):
            if not lease.seen.sent:
                lease.seen.failure = reason
            raise CallFailed(reason)
        lease.seen.sent = True
        content = await request.aread()
        await self._send(lease, request, content)
        if lease.answer is None:
            raise CallFailed("no-answer")
        if lease.streaming:
            stream = _Events(lease.answer, lease)
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)
        whole = httpx.ByteStream(await _whole(lease.answer, lease))
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=whole)

    async def aclose(self) -> None:
        """Close the pools."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()

    async def _send(self, lease: Lease, request: httpx.Request, content: bytes) -> None:
        """Send, note what came back, and leave an answer that can be read in the lease.

        Swallows what aiohttp raises, and renews a cancellation: their tracebacks reach the headers with the key.
        """
        cancelled: asyncio.CancelledError | None = None
        try:
            if lease.checked:
                self._check_literal(lease.origin)
            deadline = asyncio.get_running_loop().time() + self._timeouts.answer
            async with asyncio.timeout_at(deadline):
                answer = await self._pool(checked=lease.checked).request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    data=content,
                    headers=_headers(request, lease),
                    allow_redirects=False,
                )
            note_answer(lease.seen, answer, streaming=lease.streaming)
            if lease.seen.accepted and lease.secret is not None:
                limits = Limits(lease.bounds.size, self._timeouts.answer, None if lease.streaming else deadline)
                lease.answer = Reading(answer, lease.seen, Scrubber(lease.secret.reveal()), limits)
            else:
                answer.release()
        except asyncio.CancelledError as error:
            cancelled = asyncio.CancelledError(*error.args)
        except Exception as error:  # noqa: BLE001  whatever it is, only its kind may leave
            note_failure(lease.seen, error)
        if cancelled is not None:
            raise cancelled

    def _check_literal(self, origin: Origin) -> None:
        """Check an endpoint that is an address itself: resolvers are not asked about those."""
        try:
            ipaddress.ip_address(origin.host)
        except ValueError:
            return
        if fault := address_fault(origin.host, origin.host, origin.port, self._rules):
            raise AddressRefused(fault)

    def _pool(self, *, checked: bool) -> aiohttp.ClientSession:
        if checked not in self._pools:
            resolver = CheckedResolver(self._rules, self._lookup) if checked else None
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=KEEP_ALIVE,
                resolver=resolver,
                use_dns_cache=not checked,
                ssl=httpx.create_ssl_context(),
            )
            self._pools[checked] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect),
                trust_env=False,
            )
        return self._pools[checked]


_LENT: ContextVar[tuple[Wire, Lease]] = ContextVar("keyledger_lent")


class _Outlet(httpx.AsyncBaseTransport):
    """Passes each request to the wire and the lease of the call it belongs to. Keeps nothing."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lent = _LENT.get(None)
        if lent is None:
            raise CallFailed("no-lease")
        wire, lease = lent
        return await wire.send(lease, request)


class _LastingClient(httpx.AsyncClient):
    """A client that libraries may close as they like: there is nothing to close."""

    async def aclose(self) -> None:
        pass


OUTLET = _LastingClient(transport=_Outlet(), follow_redirects=False, trust_env=False)
"""The only HTTP client that anything here uses. It may be kept for ever: it holds no key and no connection. The time
limits are the wire's; those of httpx do not reach it."""


async def _whole(reading: Reading, lease: Lease) -> bytes:
    """Return a whole answer as libraries may see it, and leave in the lease what they may not. Raises CallFailed."""
    pieces = [piece async for piece in _pieces(reading)]
    text, check = b"".join(pieces), checked_embeddings if lease.bounds.items else checked_chat
    try:
        if len(text) <= AT_ONCE_MAX:
            passed, lease.aside = check(text, lease.bounds)
        else:
            passed, lease.aside = await asyncio.to_thread(check, text, lease.bounds)
    except AnswerRefused as error:
        lease.seen.failure = error.reason
    else:
        return passed
    raise CallFailed("answer-refused")


async def _pieces(reading: Reading) -> AsyncIterator[bytes]:
    """Yield an answer as it comes. Raises CallFailed where it breaks off."""
    while (piece := await reading.next()) is not None:
        for start in range(0, len(piece), PIECE_MAX):
            yield piece[start : start + PIECE_MAX]
            await asyncio.sleep(0)  # what came already is read without waiting, and others want their turn
    if reading.broken:
        raise CallFailed("answer-broken")


class _Events(httpx.AsyncByteStream):
    """The events of a stream as httpx reads them, one at a time."""

    def __init__(self, reading: Reading, lease: Lease) -> None:
        self._reading = reading
        self._lease = lease

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        try:
            async for text in event_texts(_pieces(self._reading), EVENT_MAX):
                count += 1
                if count > STREAM_EVENTS_MAX:
                    raise AnswerRefused(TOO_LARGE)
                yield b"data: %s\n\n" % (DONE if text == DONE else checked_event(text, self._lease.bounds))
                await asyncio.sleep(0)
        except AnswerRefused as error:
            self._lease.seen.failure = error.reason
            self._reading.drop()
        else:
            return
        raise CallFailed("answer-refused")

    async def aclose(self) -> None:
        self._reading.drop()


def origin_of(url: httpx.URL) -> Origin:
    """Return where a URL leads."""
    return Origin(url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme, 0))


def _headers(request: httpx.Request, lease: Lease) -> dict[str, str]:
    """Return headers for the wire: those of ours that every provider may see, and the key."""
    assert lease.secret is not None  # noqa: S101  a closed lease was refused
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    headers["accept-encoding"] = "identity"
    headers["user-agent"] = "keyledger"
    headers[lease.header.name] = lease.header.prefix + lease.secret.reveal()
    return headers
