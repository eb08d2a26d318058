"""Keeps a running service registered among the nodes whose keys a rotation checks.

Promises: the node is registered before it serves, if the database answers, and renewed every `BEAT_S` seconds; a
failure is logged once and tried again; a node that shuts down is unregistered at once. Each beat also looks at the
other nodes (`beat`): once they all know its next encryption key, the node begins to seal with it.
"""

import asyncio
import logging
from collections.abc import Callable

from domain.errors import ServiceError
from keyledger.encryption.nodes import BEAT_S

_log = logging.getLogger("keyledger.encryption.nodes")


class Heartbeat:
    """Runs as a task on the event loop."""

    def __init__(self, beat: Callable[[], None], leave: Callable[[], None]) -> None:
        """beat: registers this node, or renews that. leave: unregisters it. Both may raise ServiceError."""
        self._tell = beat
        self._leave = leave
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        """Register this node, then keep renewing in the background."""
        await self._beat()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Unregister this node, after a beat in progress, which would register it again."""
        self._ending.set()
        if self._task is not None:
            await self._task
        try:
            await asyncio.to_thread(self._leave)
        except ServiceError:
            _log.info("this node could not be unregistered; it expires soon")

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
        except ServiceError as error:
            if not self._failing:
                _log.warning("this node cannot renew its registration: %s", error.code)
            self._failing = True
