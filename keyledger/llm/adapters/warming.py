"""Loads, beside everything else, what the first call would wait for, and says how far that is.

Promises: only adapters that a model of the catalogue goes through are loaded; one that does not load is logged once,
shown, and tried again every `AGAIN_S` seconds, while what needs no adapter is served. A call that comes before the end
waits for the same loading, so it is never done twice.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from typing import Protocol

from api.front.services import CheckResult
from domain.calls.models import Adapter

AGAIN_S = 10.0
"""Seconds between two tries."""

_log = logging.getLogger("keyledger.llm")


class Loadable(Protocol):
    """What has to be loaded before it can be used."""

    @property
    def warm(self) -> bool:
        """Whether a call would find everything loaded."""
        ...

    async def warm_up(self) -> None:
        """Load it. Does nothing when that is done; raises whatever a broken installation raises."""
        ...


class Warming:
    """A task on the event loop that loads adapters, and ends when all are loaded.

    needed: says which adapters the models of the catalogue go through now.
    """

    def __init__(self, adapters: Mapping[Adapter, Loadable], needed: Callable[[], Set[Adapter]]) -> None:
        self._adapters = adapters
        self._needed = needed
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fault = ""

    def start(self) -> None:
        """Begin and return; on the running event loop. Does nothing while it runs."""
        self._loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="warm up the language models")

    def look_again(self) -> None:
        """Load what is needed now, from any thread. Does nothing before `start`."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop ended first
                self._loop.call_soon_threadsafe(self.start)

    async def stop(self) -> None:
        """End. What a thread has begun to import goes on there."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def check(self) -> CheckResult:
        """Say whether a call finds loaded what it needs."""
        if not self._cold():
            return CheckResult(True, "loaded" if Adapter.LITELLM in self._needed() else "none needs LiteLLM")
        if self._fault:
            return CheckResult(False, f"LiteLLM did not load ({self._fault}); it is tried again")
        return CheckResult(False, "loading")

    async def _run(self) -> None:
        while cold := self._cold():
            try:
                for adapter in cold:
                    await adapter.warm_up()
            except Exception as error:  # noqa: BLE001  an installation can be broken in any way
                fault = type(error).__name__
                if fault != self._fault:
                    _log.error("the adapter for language models did not load: %s; it is tried again", fault)
                self._fault = fault
                await asyncio.sleep(AGAIN_S)

    def _cold(self) -> list[Loadable]:
        return [self._adapters[one] for one in sorted(self._needed()) if not self._adapters[one].warm]
