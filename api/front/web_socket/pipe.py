"""The bytes of a connection that has left HTTP, in both directions.

Promises: at most `AHEAD` bytes, and what one read of the transport brings, are received ahead of the reader. A write
returns once most of what waits in the transport has been taken. Both end with the connection.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

AHEAD = 16 * 1024


class Transport(Protocol):
    """The part of a transport that is in use."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def is_closing(self) -> bool:
        """Whether it is closing or closed."""
        ...


class Reading(Protocol):
    """Stops and restarts reading from a transport; repeating either has no effect."""

    def pause_reading(self) -> None:
        """Stop."""
        ...

    def resume_reading(self) -> None:
        """Restart."""
        ...


class Pipe:
    """One connection. The protocol of its transport calls the first four methods."""

    def __init__(self, transport: Transport, reading: Reading, close: Callable[[bool], None]) -> None:
        """close: ends the connection, after what waits to be sent; its argument says that too little of it is taken."""
        self._transport = transport
        self._reading = reading
        self._close = close
        self._received = bytearray()
        self._ended = self._closed = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def arrived(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        self._received += data
        if len(self._received) >= AHEAD and not self._transport.is_closing():
            self._reading.pause_reading()
        self._arrived.set()

    def end(self) -> None:
        """Note that the connection has ended."""
        self._ended = True
        self._arrived.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Note that the other side takes too little."""
        if not self._ended:
            self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it takes more."""
        self._writable.set()

    async def read(self) -> bytes:
        """Return what has arrived, or arrives next; nothing at the end."""
        while not self._received and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        data, self._received = bytes(self._received), bytearray()
        if data and not self._ended and not self._transport.is_closing():
            self._reading.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; those for a connection that has ended are dropped."""
        self.write_soon(data)
        await self._writable.wait()

    def write_soon(self, data: bytes) -> None:
        """Send bytes without waiting."""
        if data and not self._ended and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """End the connection, after what waits to be sent. Does nothing the second time."""
        if not self._closed:
            self._closed, stalled = True, not self._writable.is_set()
            self.end()
            self._close(stalled)
