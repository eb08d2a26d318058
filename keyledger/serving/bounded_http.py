"""The HTTP protocol of our server: uvicorn's, with a bound on what an unauthenticated client can make it hold.

Promises: the head of a request (request line and headers) may have `HEAD_BYTES` and at most one piece more; a longer
one gets 431. Anything else outside a body, such as trailers, has the same limit, and then the connection just ends. A
head must be complete within `HEAD_SECONDS` of connecting or, on a connection that was used before, of its first byte;
otherwise the connection is closed. One process holds at most `most_connections()` connections; further ones get 503
before anything of them is read. The rest is uvicorn's: keep-alive, pipelining, 100-continue. The application limits the
size and the time of bodies. No answer is written into one that is under way; the connection just ends.
"""

import asyncio
import sys
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_PIECE = 4096
"""Bytes given to the parser at a time: it keeps what it was given until a header is complete."""
_LINGER_S = 1.0
_LINGER_BYTES = 1024 * 1024
_MOST_CONNECTIONS = 1000
_DESCRIPTORS_FOR_OTHERS = 64
_DESCRIPTORS_EACH = 2  # a call holds a connection to its provider too
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def most_connections() -> int:
    """Return how many connections one process accepts: as many as its file descriptors allow, up to a thousand."""
    if sys.platform == "win32":
        return _MOST_CONNECTIONS
    import resource

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, (descriptors - _DESCRIPTORS_FOR_OTHERS) // _DESCRIPTORS_EACH))


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    HEAD_BYTES: ClassVar[int] = 64 * 1024
    HEAD_SECONDS: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._unframed = 0  # bytes since the last one that completed something or was part of a body
        self._deadline: asyncio.TimerHandle | None = None
        self._leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.write(_TOO_MANY)
            transport.close()  # at once: descriptors are scarce
        else:
            self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, piece by piece, until a head is too large."""
        if self._leaving:
            self._throw_away(data)
            return
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            piece = data[start : start + _PIECE]
            self._unframed += len(piece)
            super().data_received(piece)
            if self._unframed > self.HEAD_BYTES and not self.transport.is_closing():
                self._refuse_head()
                return
        if self._deadline is None and (self._in_head or not self._answering()):
            self._start_deadline()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._unframed = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it is complete."""
        self._in_head, self._unframed = False, 0
        self._stop_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of a body on."""
        self._unframed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        self._unframed = 0
        super().on_message_complete()

    def _answering(self) -> bool:
        # Before the first request there is none, whatever uvicorn declares.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

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

    def _refuse_head(self) -> None:
        self._leaving = True
        self._stop_deadline()
        if self._answering() or not self._in_head:
            self.transport.abort()
            return
        self.transport.write(_TOO_LARGE)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # What the client still sends is discarded for a moment: closing now would make it miss the answer.
        self._deadline = self.loop.call_later(_LINGER_S, self.transport.abort)

    def _throw_away(self, data: bytes) -> None:
        self._unframed += len(data)
        if self._unframed > _LINGER_BYTES:
            self.transport.abort()
