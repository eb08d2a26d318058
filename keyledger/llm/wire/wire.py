"""The one way out for libraries: an HTTP client without keys, before the dispatcher that adds the leased key.

Promises: no request leaves without a lease, or with a header that is not ours; for the rest see `dispatch`. Libraries
see an answer with status 2xx, scrubbed of the key and of the provider's headers, checked and written anew (`answers`),
or `CallFailedError`; what happened is in the lease's `seen`. Between two events of a stream other tasks have their
turn. No exception that leaves here, nor its traceback, holds a key.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx
from yarl import URL

from domain.endpoints.rules import EndpointRules
from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError
from keyledger.llm.answers.bounds import EVENT_MAX, STREAM_EVENTS_MAX
from keyledger.llm.answers.checking import checked_chat, checked_embeddings, checked_event
from keyledger.llm.answers.server_sent_events import DONE, event_texts
from keyledger.llm.wire.answer_reader import AnswerReader, Limits
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher, Timeouts
from keyledger.llm.wire.lease import Lease
from keyledger.llm.wire.observation import note_answer
from keyledger.llm.wire.scrubbing import Scrubber

AT_ONCE_MAX = 64 * 1024
"""Bytes of an answer that is checked in less time than another thread takes to begin."""
PIECE_MAX = 16 * 1024

_PASSED_ON = ("accept", "anthropic-beta", "anthropic-version", "content-type")


class Wire:
    """The way out of one event loop, and the right to use it.

    rules, lookup: as for `Dispatcher`.
    """

    def __init__(
        self,
        rules: Callable[[], EndpointRules],
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._dispatcher = Dispatcher(rules, timeouts, lookup)

    @contextmanager
    def activate(self, lease: Lease) -> Iterator[None]:
        """Let the running call send one request through `KEYLESS_CLIENT` inside the block; then close the lease.

        Tasks started inside keep references to the lease, but not to the key.
        """
        token = _ACTIVE.set((self, lease))
        try:
            yield
        finally:
            _ACTIVE.reset(token)
            lease.close()

    async def send(self, lease: Lease, request: httpx.Request) -> httpx.Response:
        """Send a request under a lease. Raises CallFailedError."""
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
        """Send, note what came back, and leave an answer that can be read in the lease.

        Nothing is raised here with an answer at hand: its request has the key.
        """
        headers = [(name, request.headers[name]) for name in _PASSED_ON if name in request.headers]
        headers += [("accept-encoding", "identity"), ("user-agent", "keyledger")]
        url = URL(str(request.url), encoded=True)
        answer = await self._dispatcher.send(lease, request.method, url, headers, content, deadline)
        if answer is None:
            return
        note_answer(lease.observation, answer, streaming=lease.streaming)
        if lease.observation.accepted and lease.secret is not None:
            limits = Limits(lease.bounds.size, self._dispatcher.pause, None if lease.streaming else deadline)
            lease.answer = AnswerReader(answer, lease.observation, Scrubber(lease.secret.reveal()), limits)
        else:
            answer.close()  # a kept connection would keep what nobody reads, which may repeat the key

    async def aclose(self) -> None:
        """Close the pools."""
        await self._dispatcher.aclose()


_ACTIVE: ContextVar[tuple[Wire, Lease]] = ContextVar("keyledger_active_lease")


class _WireTransport(httpx.AsyncBaseTransport):
    """Passes each request to the wire and the lease of the call it belongs to. Keeps nothing."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        active = _ACTIVE.get(None)
        if active is None:
            raise CallFailedError("no-lease")
        wire, lease = active
        return await wire.send(lease, request)


class _UnclosableClient(httpx.AsyncClient):
    """A client that libraries may close as they like: there is nothing to close."""

    async def aclose(self) -> None:
        pass


KEYLESS_CLIENT = _UnclosableClient(transport=_WireTransport(), follow_redirects=False, trust_env=False)
"""The only HTTP client that anything here uses. It may be kept for ever: it holds no key and no connection. The time
limits are the wire's; those of httpx do not reach it."""


async def _whole(reader: AnswerReader, lease: Lease) -> bytes:
    """Return a whole answer as libraries may see it, and leave in the lease what they may not.

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
    """Yield an answer as it comes. Raises CallFailedError where it breaks off."""
    while (piece := await reader.next()) is not None:
        for start in range(0, len(piece), PIECE_MAX):
            yield piece[start : start + PIECE_MAX]
            await asyncio.sleep(0)  # what came already is read without waiting, and others want their turn
    if reader.broken:
        raise CallFailedError("answer-broken")


class _Events(httpx.AsyncByteStream):
    """The events of a stream as httpx reads them, one at a time."""

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
