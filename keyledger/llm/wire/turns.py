"""Lets long responses take turns, so that many of them together do not hold up the other tasks of an event loop."""

import asyncio


class Turns:
    """The turns of one event loop. Between two of them, every other task that is ready runs."""

    def __init__(self) -> None:
        """Begin with no one waiting."""
        self._lock = asyncio.Lock()

    async def wait(self) -> None:
        """Return when it is the caller's turn, in the order of asking: one caller for each round of the event loop."""
        async with self._lock:
            await asyncio.sleep(0)
