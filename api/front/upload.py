"""A request body that is passed through: a short one whole, a longer one in pieces as they arrive.

Promises: no more of a long body is held than the server has read; a body over its limit, a stalled one and one whose
sender disconnects end the call, each with its own `error`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from api.front.bodies import Limits, announces_body, cut_off, declared_length, too_large, too_slow
from api.front.problems import HttpError

WHOLE_MAX = 64 * 1024
"""Bytes up to which a body is read before the call begins, so that one that ends early makes no call."""


class Upload:
    """The body of one request. To be opened once, then iterated at most once."""

    def __init__(self, receive: Receive, headers: Headers, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._announced = announces_body(headers)
        self._declared = "content-length" in headers and "transfer-encoding" not in headers
        self.length = declared_length(headers) if self._declared else None
        self.error: HttpError | None = None
        self._size = 0
        self._begun = b""
        self._take_bytes: Callable[[int], None] = lambda size: None
        self._taken = False
        self._ended = asyncio.Event()

    @property
    def under_way(self) -> bool:
        """Whether some of the body has not been read."""
        return self._announced and not self._ended.is_set()

    async def open(self, take_bytes: Callable[[int], None]) -> "bytes | Upload":
        """Return the whole body if it is short, otherwise this upload, to be iterated.

        take_bytes: called with the size of each piece that is held, until then or by `whole`; raises HttpError if there
        is no room for it. Raises HttpError.
        """
        if not self._announced:
            self._ended.set()
            return b""
        if self.length is not None and self.length > self._limits.native_bytes:
            raise too_large(self._limits.native_bytes)
        self._take_bytes = take_bytes
        pieces = []
        while not self._ended.is_set() and self._size <= WHOLE_MAX:
            pieces.append(await self._next())
            take_bytes(len(pieces[-1]))
        self._begun = b"".join(pieces)
        return self._begun if self._ended.is_set() else self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises HttpError, also kept in `error`, because the HTTP client may swallow it."""
        if self._taken:  # the pieces are gone, so sending again would send a truncated body
            raise cut_off()
        self._taken = True
        yield self._begun
        self._begun = b""
        while not self._ended.is_set():
            if piece := await self._next():
                yield piece

    async def whole(self) -> bytes:
        """Return the whole body, within the limits of one that is held in memory. Raises HttpError."""
        limit, seconds = self._limits.llm_bytes, self._limits.llm_seconds
        if self.length is not None and self.length > limit:
            self.error = too_large(limit)
            raise self.error
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(seconds):
                async for piece in self:
                    if pieces:  # the first one was counted when it arrived
                        self._take_bytes(len(piece))
                    pieces.append(piece)
                    if self._size > limit:
                        self.error = too_large(limit)
                        raise self.error
        except TimeoutError:
            self.error = too_slow(seconds)
            raise self.error from None
        return b"".join(pieces)

    async def after_end(self) -> Message:
        """Return the next message after the body. Waiting keeps two readers from taking each other's messages."""
        await self._ended.wait()
        return await self._receive()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.native_seconds):
                message = await self._receive()
        except TimeoutError:
            self.error = too_slow(self._limits.native_seconds)
            raise self.error from None
        if message["type"] == "http.disconnect":
            self.error = cut_off()
            raise self.error
        piece = bytes(message.get("body", b""))
        self._size += len(piece)
        if self._size > self._limits.native_bytes:
            self.error = too_large(self._limits.native_bytes)
            raise self.error
        if not message.get("more_body", False):
            self._ended.set()
        return piece
