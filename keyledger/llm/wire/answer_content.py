"""The body of one answer, between the socket and its reader.

Promises: bytes are read in the order in which they arrived, and then the end or the reason why there is none. While
more than twice `READ_AHEAD` bytes wait for the reader, nothing is read from the socket. Once the answer has ended, its
connection may serve another call, and nothing that is done here touches it.
"""

import asyncio
from collections import deque

from api.front.web_socket.pipe import Reading
from keyledger.llm.answers.bounded_json import InvalidAnswerError

READ_AHEAD = 8 * 1024
"""Bytes of a body that are received ahead of its reader; twice as many stop the connection."""


class AnswerContent:
    """A body that arrives. total_bytes: of it that have arrived so far."""

    __slots__ = ("_ended", "_failure", "_held", "_paused", "_pieces", "_reading", "_waiter", "total_bytes")

    def __init__(self, reading: Reading | None = None) -> None:
        """reading: of the connection on which the body arrives."""
        self.total_bytes = 0
        self._reading = reading
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = self._ended = False
        self._failure: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def whole(self) -> bool:
        """Whether the body has arrived to its end."""
        return self._ended and self._failure is None

    @property
    def ready(self) -> bool:
        """Whether `read` returns or raises without waiting."""
        return self._ended or self._held > 0

    def feed(self, piece: bytes) -> None:
        """Take bytes that have arrived."""
        self.total_bytes += len(piece)
        self._held += len(piece)
        self._pieces.append(piece)
        if self._held > 2 * READ_AHEAD and not self._paused and self._reading is not None:
            self._paused = True
            self._reading.pause_reading()
        self._wake()

    def end(self, failure: str | None = None) -> None:
        """Note that nothing more arrives. failure: why the body is not complete, a code. The first end counts."""
        if self._ended:
            return
        self._ended, self._failure = True, failure
        self._resume()
        self._reading = None
        self._wake()

    async def read(self, most: int) -> bytes:
        """Return up to `most` bytes as soon as there are any; none at the end. Raises InvalidAnswerError."""
        while not self.ready:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._held:
            return self.take(most)
        if self._failure is not None:
            raise InvalidAnswerError(self._failure)
        return b""

    def take(self, most: int) -> bytes:
        """Return up to `most` bytes of those that have arrived."""
        taken: list[bytes] = []
        while self._pieces and most > 0:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            taken.append(piece)
            most -= len(piece)
            self._held -= len(piece)
        if self._held < READ_AHEAD:
            self._resume()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _resume(self) -> None:
        if self._paused and self._reading is not None:
            self._reading.resume_reading()
        self._paused = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
