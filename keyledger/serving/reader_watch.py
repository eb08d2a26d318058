"""Notices a client that does not read its answer.

Promises: while bytes are waiting for the client, a time in which it takes none of them ends the connection; a slow
client that takes some in each such time is left alone.
"""

import asyncio
from collections.abc import Callable


class ReaderWatch:
    """Watches what waits in the transport of one connection."""

    def __init__(
        self,
        transport: asyncio.Transport,
        call_later: Callable[..., asyncio.TimerHandle],
        seconds: Callable[[], float],
        stalled: Callable[[], None],
    ) -> None:
        """call_later: of the event loop. seconds: returns the time. stalled: called before the connection ends."""
        self._transport = transport
        self._call_later = call_later
        self._seconds = seconds
        self._stalled = stalled
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch, if anything is waiting and nothing is being watched."""
        if self._timer is None and (waiting := self._transport.get_write_buffer_size()):
            self._waiting = waiting
            self._timer = self._call_later(self._seconds(), self._look)

    def stop(self) -> None:
        """End watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() < self._waiting:
            self.start()
        else:
            self._stalled()
            self._transport.abort()
