"""The transport for libraries: an HTTP client without keys, in front of the dispatcher that adds the lease's key.

Promises: no request is sent without a lease, or with headers other than those listed here; for the rest see `dispatch`.
Libraries see a 2xx response with the key and the provider's headers removed, checked and rewritten (see `checking`), or
CallFailedError; the lease's observation says what happened. Other tasks run between two events of a stream. No
exception raised here holds a key, nor does its traceback.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx
from yarl import URL

from domain.endpoints.rules import EndpointRules
from domain.request_context import SERVICE_KEY
from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError
from keyledger.llm.answers.bounds import EVENT_MAX, STREAM_EVENTS_MAX
from keyledger.llm.answers.checking import checked_chat, checked_embeddings, checked_event
from keyledger.llm.answers.server_sent_events import DONE, event_texts
from keyledger.llm.wire.answer_reader import ENCODING_UNKNOWN, AnswerReader, Limits, is_readable
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher, Timeouts
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.observation import note_answer
from keyledger.llm.wire.turns import Turns

AT_ONCE_MAX = 64 * 1024
"""Bytes; checking a smaller response takes less time than starting a thread."""
PIECE_MAX = 16 * 1024

_PASSED_ON = ("accept", "anthropic-beta", "anthropic-version", "content-type")


class Wire:
    """The transport of one event loop. Its requests need an active lease."""

    def __init__(
        self,
        rules: Callable[[], EndpointRules],
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
        idle: IdleConnections | None = None,
    ) -> None:
        """rules, timeouts, lookup, idle: as for `Dispatcher`."""
        self._dispatcher = Dispatcher(rules, timeouts, lookup, idle)
        self._turns = Turns()

    @contextmanager
    def activate(self, lease: Lease) -> Iterator[None]:
        """Make `lease` the running task's active lease until the block ends, then close it.

        The task can send one request through `KEYLESS_CLIENT`. Tasks started inside keep references to the lease, but
        not to the key.
        """
        token = _ACTIVE.set((self, lease))
        try:
            yield
        finally:
            _ACTIVE.reset(token)
            lease.close()

    async def send(self, lease: Lease, request: httpx.Request) -> httpx.Response:
        """Send a request under a lease and return the checked response. Raises CallFailedError."""
        content, deadline = await request.aread(), self._dispatcher.deadline()
        await self._begin(lease, request, content, deadline)
        if lease.answer is None:
            raise CallFailedError("no-answer")
        if lease.streaming:
            stream = _Events(lease.answer, lease)
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)
        whole = httpx.ByteStream(await _whole(lease.answer, lease))
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=whole)

    async def _begin(self, lease: Lease, request: httpx.Request, content: bytes, deadline: float) -> None:
        """Send the request, record the result, and store a readable response in the lease.

        Once there is a response nothing is raised, because its request holds the key.
        """
        headers = [(name, request.headers[name]) for name in _PASSED_ON if name in request.headers]
        headers += [("accept-encoding", "identity"), ("user-agent", "keyledger")]
        url = URL(str(request.url), encoded=True)
        answer = await self._dispatcher.send(lease, request.method, url, headers, content, deadline)
        if answer is None:
            return
        note_answer(lease.observation, answer, streaming=lease.streaming)
        if lease.observation.accepted and not is_readable(answer):
            lease.observation.failure = ENCODING_UNKNOWN
        if lease.observation.accepted and lease.secret is not None:
            limits = Limits(lease.bounds.size, self._dispatcher.pause, None if lease.streaming else deadline)
            turns = self._turns.of(SERVICE_KEY.get(""), lease.owner.tenant_id)
            lease.answer = AnswerReader(answer, lease.observation, KeyForms(lease.secret.reveal()), limits, turns)
        else:
            answer.close()  # a pooled connection would keep the unread body, which may repeat the key

    async def aclose(self) -> None:
        """Close all connections."""
        await self._dispatcher.aclose()


_ACTIVE: ContextVar[tuple[Wire, Lease]] = ContextVar("keyledger_active_lease")


class _WireTransport(httpx.AsyncBaseTransport):
    """Passes each request to the wire and the lease of its call. Keeps nothing."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        active = _ACTIVE.get(None)
        if active is None:
            raise CallFailedError("no-lease")
        wire, lease = active
        return await wire.send(lease, request)


class _UnclosableClient(httpx.AsyncClient):
    """A client that libraries may close without effect, because it holds nothing."""

    async def aclose(self) -> None:
        pass


KEYLESS_CLIENT = _UnclosableClient(transport=_WireTransport(), follow_redirects=False, trust_env=False)
"""The only HTTP client that adapters and libraries use. It can be kept for ever: it holds no key and no connection. The
wire enforces the time limits; those of httpx have no effect."""


async def _whole(reader: AnswerReader, lease: Lease) -> bytes:
    """Return the checked response for libraries, and set the rest aside in the lease.

    Raises CallFailedError.
    """
    pieces = [piece async for piece in _pieces(reader)]
    text, check = b"".join(pieces), checked_embeddings if lease.bounds.items else checked_chat
    try:
        if len(text) <= AT_ONCE_MAX:
            passed, lease.set_aside = check(text, lease.bounds)
        else:
            passed, lease.set_aside = await asyncio.to_thread(check, text, lease.bounds)
    except InvalidAnswerError as error:
        lease.observation.failure = error.reason
    else:
        return passed
    raise CallFailedError("answer-refused")


async def _pieces(reader: AnswerReader) -> AsyncIterator[bytes]:
    """Yield a response as it arrives. Raises CallFailedError where it breaks off."""
    while (piece := await reader.next()) is not None:
        for start in range(0, len(piece), PIECE_MAX):
            yield piece[start : start + PIECE_MAX]
            await asyncio.sleep(0)  # pieces that have arrived are read without waiting, so let other tasks run
    if reader.broken:
        raise CallFailedError("answer-broken")


class _Events(httpx.AsyncByteStream):
    """The events of a stream, one at a time, as httpx reads them."""

    def __init__(self, reader: AnswerReader, lease: Lease) -> None:
        self._reader = reader
        self._lease = lease

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        try:
            async for text in event_texts(_pieces(self._reader), EVENT_MAX):
                count += 1
                if count > STREAM_EVENTS_MAX:
                    raise InvalidAnswerError(TOO_LARGE)
                yield b"data: %s\n\n" % (
                    DONE if text == DONE else checked_event(text, self._lease.bounds, self._lease.set_aside)
                )
                await asyncio.sleep(0)
        except InvalidAnswerError as error:
            self._lease.observation.failure = error.reason
            self._reader.drop()
        else:
            return
        raise CallFailedError("answer-refused")

    async def aclose(self) -> None:
        self._reader.drop()
