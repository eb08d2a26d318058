"""Keeps a served application among the nodes that a rotation asks for their keys.

Promises: the node is known before it serves, as far as the database answers, and renewed every `BEAT_S` seconds; a
failure is logged once and tried again; a node that ends in order is gone at once. Each beat is a moment to look at the
others (`beat`): one whose next encryption key all of them know begins to seal with it.
"""

import asyncio
import logging
from collections.abc import Callable

from domain.errors import ServiceError
from keyledger.encryption.nodes import BEAT_S

_log = logging.getLogger("keyledger.encryption.nodes")


class Heartbeat:
    """A task on the event loop."""

    def __init__(self, beat: Callable[[], None], leave: Callable[[], None]) -> None:
        """beat: tells that this node runs. leave: tells that it ends. Both may raise ServiceError."""
        self._tell = beat
        self._leave = leave
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        """Tell the others, then go on in the background."""
        await self._beat()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Tell the others that this service ends. Never in the middle of a beat, which would bring it back."""
        self._ending.set()
        if self._task is not None:
            await self._task
        try:
            await asyncio.to_thread(self._leave)
        except ServiceError:
            _log.info("the end of this node could not be told; it will be forgotten soon")

    async def _run(self) -> None:
        while not await self._ends_within(BEAT_S):
            await self._beat()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._ending.wait()
        except TimeoutError:
            return False

    async def _beat(self) -> None:
        try:
            await asyncio.to_thread(self._tell)
            self._failing = False
        except ServiceError as fault:
            if not self._failing:
                _log.warning("this node cannot tell that it runs: %s", fault.code)
            self._failing = True
