"""One connection to a provider, which calls use one after the other.

Promises: a connection serves calls of one `Purpose` only: one tenant, one version of one credential with one key, one
origin. It is closed, and no other call uses it, as soon as anything arrives between two calls, and when anything of an
answer is left over or a request was not sent completely. It keeps no part of a call that has ended.
Standard: RFC 9112, section 9 (connection management).
"""

import asyncio
import select
from collections.abc import AsyncIterable, Callable
from typing import Any, Protocol, cast

from api.front.web_socket.pipe import Pipe
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.wire.answer_content import AnswerContent
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.provider_call import LOST, ProviderCall
from keyledger.llm.wire.purpose import Purpose
from keyledger.llm.wire.request_bytes import WHOLE_MAX, pieces_of

READ_MAX = 16 * 1024
"""Bytes that are read at a time: an event loop reads sixteen times as many before a slow caller can stop it."""

UNEXPECTED = "unexpected-data"
"""The reason for closing a connection on which something arrived after an answer."""

_BUFFER = memoryview(bytearray(READ_MAX))
_CLOSING_S = 5.0
"""Seconds that a provider has to take what waits for it when its WebSocket is closed."""


class Shelf(Protocol):
    """Keeps idle connections, and knows all open ones."""

    def keep(self, connection: "ProviderConnection") -> None:
        """Keep a connection whose call has ended."""
        ...

    def forget(self, connection: "ProviderConnection", reason: str) -> None:
        """Forget an idle connection that is being closed. reason: a code for the metrics."""
        ...

    def gone(self, connection: "ProviderConnection") -> None:
        """Forget a connection that has ended."""
        ...


class ProviderConnection(asyncio.BufferedProtocol):
    """A connection. served: it has served a call. received: anything has arrived since its last call began."""

    def __init__(self, opener: object, purpose: Purpose, keep_s: float, shelf: Shelf) -> None:
        """opener: what opened it. keep_s: seconds to keep it idle."""
        self.opener = opener
        self.purpose = purpose
        self.served = self.received = False
        self._until = 0.0
        self._keep_s = keep_s
        self._shelf = shelf
        self._idle = self._retired = self._lost = False
        self._transport: asyncio.Transport | None = None
        self._waiting: Callable[[], bool] = lambda: False
        self._encrypted = False
        self._now = asyncio.get_running_loop().time
        self._call: ProviderCall | None = None
        self._writable: asyncio.Future[None] | None = None
        self._pipe: Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._waiting = _waiting_in(transport.get_extra_info("socket"))
        self._encrypted = transport.get_extra_info("ssl_object") is not None

    def is_usable(self) -> bool:
        """Whether a call may begin. A connection that is not usable must be closed."""
        if self._lost or self._transport is None or self._transport.is_closing():
            return False
        # A server may send session tickets just after the handshake of TLS; they do not belong to an answer.
        return (self._encrypted and not self.served) or not self._waiting()

    def take(self) -> None:
        """Take the connection from those that are kept."""
        self._idle = False

    async def ask(
        self,
        head: bytes,
        body: bytes | AsyncIterable[bytes] | None,
        observation: Observation,
        *,
        bodiless: bool,
        chunked: bool,
    ) -> ProviderAnswer:
        """Send a request and return its answer, once the head of that has arrived.

        head: its bytes. body: what follows them, at once where it is short. bodiless: it is a HEAD. chunked: a body in
        pieces is sent in chunks. Raises InvalidAnswerError, and then the connection is closed.
        """
        transport = self._open_transport()
        self.received = False
        self._call = call = ProviderCall(self, observation, bodiless=bodiless)
        if body is None or (isinstance(body, bytes) and len(body) <= WHOLE_MAX):
            transport.write(head + body if body else head)
        else:
            transport.write(head)
            call.upload = asyncio.create_task(self._send(call, body, chunked=chunked))
        try:
            # The answer may have ended when this task runs again, and the connection may serve another call.
            return ProviderAnswer(await call.head, call.content, self)
        except asyncio.CancelledError:
            self.abandon(call.content)
            raise

    def hand_over(self, close: Callable[[], None]) -> Pipe:
        """Return the connection of a call that left HTTP. close: ends it."""
        transport = self._open_transport()

        def end(stalled: bool) -> None:
            if stalled:
                transport.abort()
            else:
                asyncio.get_running_loop().call_later(_CLOSING_S, transport.abort)
            close()

        self._pipe = pipe = Pipe(transport, self, end)
        if self._call is not None and self._call.parser.behind:
            pipe.arrived(self._call.parser.behind)
        if self._lost:
            pipe.end()
        return pipe

    def fresh(self) -> bool:
        """Whether an idle connection is within its time."""
        return self._now() < self._until

    def retire(self, reason: str) -> None:
        """Close the connection, after the call that uses it. reason: a code for the metrics, if it is idle."""
        self._retired = True
        if self._idle:
            self.close(reason)

    def close(self, reason: str) -> None:
        """Close the connection; what was not sent of a request is dropped. reason: for the metrics, if it is idle."""
        if self._idle:
            self._idle = False
            self._shelf.forget(self, reason)
        self._end_call()
        if self._transport is None:
            return
        if self._pipe is None and self._transport.get_write_buffer_size():
            self._transport.abort()  # a provider that reads nothing would keep it open
        else:
            self._transport.close()

    def abandon(self, content: AnswerContent) -> None:
        """Close the connection, if it still serves the answer with this body."""
        if self._call is not None and self._call.content is content:
            self.close("closed")

    def pause_reading(self) -> None:
        """Read no more for a while."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that is read into. All connections share it: it is emptied before the next one reads."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what arrives during a call; close the connection on what arrives between calls."""
        data = bytes(_BUFFER[:nbytes])
        if self._pipe is not None:
            self._pipe.arrived(data)
            return
        self.received = True
        if (call := self._call) is None:
            self.close(UNEXPECTED)
        elif (reason := call.receive(data)) is not None:
            self._break_off(reason)
        elif call.parser.complete and not call.parser.switched:
            self._end(call)

    def eof_received(self) -> None:
        """Note that the provider has ended the connection. The transport then closes it."""
        if self._idle:
            self.close("closed-by-provider")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note that the connection has ended."""
        self._lost = True
        if self._idle:
            self.close("closed-by-provider")
        if self._pipe is not None:
            self._pipe.end()
        if self._call is not None and exc is None:
            self._call.parser.feed_end()
        self._end_call()
        self.resume_writing()
        self._shelf.gone(self)

    def pause_writing(self) -> None:
        """Note that the provider reads too slowly."""
        if self._pipe is not None:
            self._pipe.pause_writing()
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Note that the provider reads again."""
        if self._pipe is not None:
            self._pipe.resume_writing()
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _open_transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise InvalidAnswerError(LOST)
        return self._transport

    async def _send(self, call: ProviderCall, body: bytes | AsyncIterable[bytes], *, chunked: bool) -> None:
        """Send a body in pieces. If it breaks off, so does the call: what follows would be read as its rest."""
        try:
            async for piece in pieces_of(body, chunked=chunked):
                if self._call is not call or self._transport is None or self._transport.is_closing():
                    return
                self._transport.write(piece)
                if self._writable is not None:
                    await self._writable
                else:
                    await asyncio.sleep(0)
        except Exception:  # noqa: BLE001  its sender keeps why
            if self._call is call:
                self._break_off(LOST)

    def _end(self, call: ProviderCall) -> None:
        """End a call whose answer is whole: keep the connection, or close it if any part of the call is left."""
        parser = call.parser
        left = self._retired or call.unsent or self._open_transport().get_write_buffer_size() > 0
        if call.keep_s is not None:
            self._keep_s = min(self._keep_s, call.keep_s)
        self._end_call()
        if left or not (parser.keeps or parser.surplus):
            self.close("closed")
            return
        self.served = self._idle = True
        self._until = self._now() + self._keep_s
        self._shelf.keep(self)
        if parser.surplus:
            self.close(UNEXPECTED)

    def _end_call(self, failure: str = LOST) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.end(failure)

    def _break_off(self, reason: str) -> None:
        self._end_call(reason)
        if self._transport is not None:
            self._transport.abort()


def _waiting_in(socket: Any) -> Callable[[], bool]:
    """Return a function that says whether bytes, or the end of the connection, wait unread in the kernel."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return lambda: bool(poll.poll(0))
