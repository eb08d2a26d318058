"""Lets long responses take turns, so that many of them together do not hold up the other tasks of an event loop.

Promises: one long response takes a step in each round of the event loop. A step that took long is followed by a rest of
the same length, so that all long responses together take at most about half of the event loop's time.
"""

import asyncio
from collections.abc import Awaitable, Callable

LONG_S = 0.0005
"""Seconds of a step after which a rest follows; steps of usual text take less."""
REST_MAX_S = 0.05


class Turns:
    """The turns of one event loop. Between two of them, every other task that is ready runs."""

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Begin with no one waiting. pause: waits for a number of seconds, at least for one round of the event loop."""
        self._lock = asyncio.Lock()
        self._pause = pause
        self._rest = 0.0

    def took(self, seconds: float) -> None:
        """Note how long a step took, without what it waited for."""
        if seconds > LONG_S:
            self._rest = min(self._rest + seconds, REST_MAX_S)

    async def wait(self) -> None:
        """Return when it is the caller's turn, in the order of asking: one caller for each round of the event loop."""
        async with self._lock:
            rest, self._rest = self._rest, 0.0
            await self._pause(rest)
