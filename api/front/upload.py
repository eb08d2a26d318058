"""A request's body on its way through: short ones whole, longer ones in pieces as they arrive.

Promises: of a long body no more is held than what the server has read; a body over its limit, one that stalls and one
whose sender leaves end the call, each with its own `fault`.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from api.front.bodies import Limits, announces_body, cut_off, declared_length, too_large, too_slow
from api.front.problems import HttpError

WHOLE_MAX = 64 * 1024
"""Bytes up to which a body is read before the call begins: one that ends early then costs no call."""


class Upload:
    """The body of one request. To be opened once, then iterated at most once."""

    def __init__(self, receive: Receive, headers: Headers, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._announced = announces_body(headers)
        self._declared = "content-length" in headers and "transfer-encoding" not in headers
        self.length = declared_length(headers) if self._declared else None
        self.fault: HttpError | None = None
        self._size = 0
        self._begun = b""
        self._taken = False
        self._ended = asyncio.Event()

    @property
    def under_way(self) -> bool:
        """Whether some of the body has not been read."""
        return self._announced and not self._ended.is_set()

    async def open(self) -> "bytes | Upload":
        """Return the whole body where it is short, else this upload, to be iterated. Raises HttpError."""
        if not self._announced:
            self._ended.set()
            return b""
        if self.length is not None and self.length > self._limits.native_bytes:
            raise too_large(self._limits.native_bytes)
        pieces = []
        while not self._ended.is_set() and self._size <= WHOLE_MAX:
            pieces.append(await self._next())
        self._begun = b"".join(pieces)
        return self._begun if self._ended.is_set() else self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises HttpError, which is left in `fault` too: whoever sends may swallow it."""
        if self._taken:  # what was yielded is gone; a second sending would be a torn one
            raise cut_off()
        self._taken = True
        yield self._begun
        self._begun = b""
        while not self._ended.is_set():
            if piece := await self._next():
                yield piece

    async def after_end(self) -> Message:
        """Return the next message of the connection that is not of the body: of two readers one would miss some."""
        await self._ended.wait()
        return await self._receive()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.native_seconds):
                message = await self._receive()
        except TimeoutError:
            self.fault = too_slow(self._limits.native_seconds)
            raise self.fault from None
        if message["type"] == "http.disconnect":
            self.fault = cut_off()
            raise self.fault
        piece = bytes(message.get("body", b""))
        self._size += len(piece)
        if self._size > self._limits.native_bytes:
            self.fault = too_large(self._limits.native_bytes)
            raise self.fault
        if not message.get("more_body", False):
            self._ended.set()
        return piece
