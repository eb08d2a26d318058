"""Keeps a running service registered among the nodes whose keys a rotation checks.

Promises: the node is registered before it serves, if the database answers, and renewed every `BEAT_S` seconds, and at
once when `hasten` asks for it; a failure is logged once and tried again; a node that shuts down is unregistered at
once. Each beat renews the node's lease, so it runs in a thread of its own, which nothing else keeps busy. It also looks
at the other nodes (`beat`): once they all know its next encryption key, the node begins to seal with it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from domain.errors import ServiceError
from keyledger.encryption.nodes import BEAT_S

_log = logging.getLogger("keyledger.encryption.nodes")


class Heartbeat:
    """Runs as a task on the event loop."""

    def __init__(
        self, beat: Callable[[], None], leave: Callable[[], None], begin: Callable[[], None] = lambda: None
    ) -> None:
        """beat: registers this node, or renews that. leave: unregisters it. Both may raise ServiceError.

        begin: called after the first beat, from when on the node depends on them.
        """
        self._tell = beat
        self._leave = leave
        self._begin = begin
        self._ending = False
        self._next = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "heartbeat")
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        """Register this node, then keep renewing in the background."""
        self._loop = asyncio.get_running_loop()
        await self._beat()
        self._begin()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Unregister this node, after a beat in progress, which would register it again."""
        self._ending = True
        self._next.set()
        if self._task is not None:
            await self._task
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._leave)
        except ServiceError:
            _log.info("this node could not be unregistered; it expires soon")
        self._thread.shutdown(wait=False)

    def hasten(self) -> None:
        """Make the next beat due at once. From any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._next.set)

    async def _run(self) -> None:
        while not self._ending:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._next.wait()
            if not self._ending:
                self._next.clear()
                await self._beat()

    async def _beat(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._tell)
            self._failing = False
        except Exception as error:  # noqa: BLE001  without beats the node would serve nothing until it is started again
            if not self._failing:
                cause = error.code if isinstance(error, ServiceError) else type(error).__name__
                _log.warning("this node cannot renew its registration: %s", cause)
            self._failing = True
