"""The parts of a service that run on its event loop: started in one order, stopped in the reverse order.

Promises: a part runs only while every part before it runs. When a part fails to start, the parts already started are
stopped and the failure is raised. When a part fails to stop, the failure is logged and the remaining parts are stopped
all the same.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

_log = logging.getLogger("keyledger.parts")


class Part(Protocol):
    """Something that runs while the service does. `stop` is called once, and only after `start` returned."""

    async def start(self) -> None:
        """Begin, on the running event loop, and return once the parts after it may rely on it."""
        ...

    async def stop(self) -> None:
        """Finish what was accepted, then end."""
        ...


class Parts:
    """Named parts in their order; itself a part."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        """parts: in the order in which they start. The names are for the log."""
        self._parts = parts
        self._started: list[str] = []

    @property
    def names(self) -> Sequence[str]:
        """The names, in the order in which the parts start."""
        return list(self._parts)

    async def start(self) -> None:
        """Start every part. Raises what a part raises, after stopping those that were started."""
        for name, part in self._parts.items():
            try:
                await part.start()
            except BaseException as failure:
                _log.error("%s did not start: %s", name, type(failure).__name__)
                await self.stop()
                raise
            self._started.append(name)

    async def stop(self) -> None:
        """Stop every part that was started, the last one first. Raises only a cancellation, and only at the end."""
        interruption: BaseException | None = None
        while self._started:
            name = self._started.pop()
            try:
                await self._parts[name].stop()
            except Exception as failure:  # noqa: BLE001  its text may hold anything, so only its type is logged
                _log.error("%s did not stop in order: %s", name, type(failure).__name__)
            except BaseException as cut_short:  # noqa: BLE001  the wait for one part ends, the others are still stopped
                interruption = cut_short
        if interruption is not None:
            raise interruption


class StartedByRequests:
    """Work that requests start in threads of their own, such as a rotation; only its end belongs to the service."""

    def __init__(self, end: Callable[[], None]) -> None:
        """end: asks the work to end, and returns when it has; may block."""
        self._end = end

    async def start(self) -> None:
        """Do nothing: requests start the work."""

    async def stop(self) -> None:
        """End the work that is under way."""
        await asyncio.to_thread(self._end)
