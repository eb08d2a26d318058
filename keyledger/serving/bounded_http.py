"""The HTTP protocol of our server: uvicorn's, with a bound on what an unauthenticated client can make it hold.

Promises: the head of a request (request line and headers) may have `HEAD_BYTES` and at most one piece more; a longer
one gets 431. Anything else outside a body, such as trailers, has the same limit, and then the connection just ends. A
head must be complete within `HEAD_SECONDS` of connecting or, on a connection that was used before, of its first byte;
otherwise the connection is closed. A request that does not name its host, or not clearly, gets 400 before anything else
is decided, and so does one that is not HTTP. How many connections there may be, and which of them make room, is decided
in `api.front.bounds.connections`; one that never got an answer is sent 503 first. A client that reads no byte of a
waiting answer for a time is cut off (`reader_watch`). While a request waits for the answer to the one before it, what
follows is kept unread: at most `AHEAD_BYTES` and what one read brings, or the connection ends
after `HEAD_SECONDS`. A client that leaves is noticed by every request it sent. The rest is uvicorn's: keep-alive,
pipelining, 100-continue. The application limits the size and the time of bodies. No answer is written into one that is
under way; the connection just ends. A request that offers a WebSocket may take its connection over (`upgrading`).
"""

import asyncio
import sys
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.front.bounds.connections import Place
from api.front.bounds.reached import Bound
from api.front.web_socket.handshake import asks_for_web_socket
from api.front.web_socket.pipe import Pipe
from keyledger.serving.crowded import too_many
from keyledger.serving.host_header import host_is_clear
from keyledger.serving.reader_watch import ReaderWatch
from keyledger.serving.register import register_in
from keyledger.serving.upgrading import Upgrading

_PIECE = 4096
"""Bytes given to the parser at a time: it keeps what it was given until a header is complete."""
_AHEAD_MAX = 1024 * 1024
_LINGER_S = 1.0
_LINGER_BYTES = 1024 * 1024
_ENDED = b"Connection: close\r\nContent-Length: 0\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n" + _ENDED
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _ENDED


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    HEAD_BYTES: ClassVar[int] = 64 * 1024
    HEAD_SECONDS: ClassVar[float] = 10.0
    AHEAD_BYTES: ClassVar[int] = 64 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._unframed = 0  # bytes since the last one that completed something or was part of a body
        self._deadline: asyncio.TimerHandle | None = None
        self._leaving = False
        self._lost = False
        self._answered = False
        self._running: RequestResponseCycle | None = None
        self._ahead = b""
        self._too_far_ahead: asyncio.TimerHandle | None = None
        self._piece = 0
        self._followed = False  # anything came with a request that offers to upgrade, behind it
        self._pipe: Pipe | None = None
        self._register = register_in(self.app_state)
        self._place: Place | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        register = self._register
        self._reader = ReaderWatch(
            transport,
            self.loop.call_later,
            lambda: register.bounds().reader_seconds,
            lambda: register.reached(Bound.READER),
        )
        self._place = register.enter(self.client[0] if self.client else None, self)
        if self._place is None:
            self.make_way()
        else:
            self._start_deadline()
            register.make_room_soon(self._place, self.loop.call_soon)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and tell every request that its client has left: uvicorn tells the last one only."""
        self._stop_deadline()
        self._keep_ahead(b"")
        if self._pipe is not None:
            self._pipe.end()
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self._reader.stop()
        if self._place is not None:
            self._place.leave()
        super().connection_lost(exc)
        # Each of these refers to this object as well, and would keep a call and its key until garbage is collected.
        self._lost, self._running, self._place = True, None, None
        self.cycle = self.scope = None  # type: ignore[assignment]  # as uvicorn begins

    def is_idle(self) -> bool:
        """Say whether no request is being answered, and its client has taken every answer."""
        return not (self._answering() or self.transport.get_write_buffer_size())

    def make_way(self) -> None:
        """Close the connection at once: descriptors are scarce."""
        self._stop_deadline()
        if self._answering() or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        if not self._answered:
            self.transport.write(too_many())
        self.transport.close()

    def pause_writing(self) -> None:
        """Hold the application back, and see whether the client takes what is waiting."""
        super().pause_writing()
        if self._pipe is not None:
            self._pipe.pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        """Let the application write on."""
        self._reader.stop()
        if self._pipe is not None:
            self._pipe.resume_writing()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was not used again, even if the client does not take the end of its answer."""
        super().timeout_keep_alive_handler()
        self._reader.start()

    def on_response_complete(self) -> None:
        """Go on to the next request; if the connection is closing, see whether the client takes what is waiting."""
        self._answered = True
        super().on_response_complete()
        if self._lost:
            return
        if self.transport.is_closing():
            self._reader.start()
        elif self._ahead and not self.pipeline:
            ahead = self._ahead
            self._keep_ahead(b"")
            self.data_received(ahead)
        if len(self._ahead) > self.AHEAD_BYTES:
            self.flow.pause_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if asks_for_web_socket(cycle.scope["headers"]):
            app = Upgrading(cycle, lambda: self._is_clean(cycle), self._hand_over).around(app)
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Note whether anything came with a request that offers to upgrade. The server drops what did."""
        (at,) = getattr(sys.exc_info()[1], "args", None) or (0,)  # of what the parser raised: where the request ends
        self._followed = at < self._piece

    def _is_clean(self, cycle: RequestResponseCycle) -> bool:
        behind = self.pipeline or self._ahead or self._in_head or self._followed
        return cycle is self.cycle and not behind and not self._is_over()

    def _hand_over(self) -> Pipe:
        self._stop_deadline()
        self.flow.resume_reading()
        self._pipe = Pipe(self.transport, self.flow, self._linger)
        return self._pipe

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, piece by piece, until a head is too large."""
        if self._leaving:
            self._throw_away(data)
            return
        if self._pipe is not None:
            self._pipe.arrived(data)
            return
        for start in range(0, len(data), _PIECE):
            if self._is_over():
                return
            if self.pipeline:
                self._keep_ahead(self._ahead + data[start:])
                return
            piece = data[start : start + _PIECE]
            self._unframed += len(piece)
            self._piece = len(piece)
            super().data_received(piece)
            if self._unframed > self.HEAD_BYTES and not self._is_over():
                self._refuse(_TOO_LARGE)
                return
        if self._deadline is None and (self._in_head or not self._answering()):
            self._start_deadline()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._unframed, self._followed = True, 0, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it is complete. Raises ValueError, which the parser passes on, if it does not name its host."""
        if not host_is_clear(self.headers, self.parser.get_http_version()):
            raise ValueError("the host is not clear")
        self._in_head, self._unframed = False, 0
        if self._place is not None:
            self._place.put_into(self.scope["state"])
        self._stop_deadline()
        super().on_headers_complete()
        if self.pipeline:
            self.flow.resume_reading()  # to notice that the client leaves

    def on_body(self, body: bytes) -> None:
        """Pass a piece of a body on."""
        self._unframed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        self._unframed = 0
        super().on_message_complete()

    def _keep_ahead(self, data: bytes) -> None:
        self._ahead = data
        if len(data) <= self.AHEAD_BYTES:
            if self._too_far_ahead is not None:
                self._too_far_ahead.cancel()
                self._too_far_ahead = None
            return
        self.flow.pause_reading()
        if len(data) > _AHEAD_MAX:  # requests under way let more be read
            self.transport.abort()
        elif self._too_far_ahead is None:
            self._too_far_ahead = self.loop.call_later(self.HEAD_SECONDS, self.transport.abort)

    def _answering(self) -> bool:
        # Before the first request there is none, whatever uvicorn declares.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def _is_over(self) -> bool:
        return self._leaving or self.transport.is_closing()

    def _start_deadline(self) -> None:
        if not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.HEAD_SECONDS, self._at_deadline)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _at_deadline(self) -> None:
        self._deadline = None
        if self._answering():
            # The next head waits for an answer, during which nothing is read: the client is not to blame.
            self._start_deadline()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not a request, or not a clear one. msg: not sent."""
        del msg
        if self._answering() and not (self._in_head or self.pipeline or self.cycle.response_started):
            self.transport.write(_BAD_REQUEST)  # its body is broken, and it has no other answer yet
            self.transport.close()
        else:
            self._refuse(_BAD_REQUEST)

    def _refuse(self, answer: bytes) -> None:
        self._leaving = True
        self._stop_deadline()
        if self._answering() or (answer is _TOO_LARGE and not self._in_head):
            self.transport.abort()
            return
        self.transport.write(answer)
        self._linger()

    def _linger(self, _stalled: bool = False) -> None:
        """End the connection, but discard for a moment what the client still sends: it would miss what was written."""
        self._leaving = True
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER_S, self._end_lingering)

    def _end_lingering(self) -> None:
        if self._pipe is None:
            self.transport.abort()
        else:
            self.transport.close()  # after what waits to be sent
            self._reader.start()

    def _throw_away(self, data: bytes) -> None:
        self._unframed += len(data)
        if self._unframed > _LINGER_BYTES:
            self.transport.abort()
