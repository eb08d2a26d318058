"""Loads in the background what the first call would otherwise wait for, and reports its progress.

Promises: only adapters used by a model in the catalogue are loaded; a failure is logged once, shown by `check`, and
retried every `AGAIN_S` seconds, while everything that needs no adapter is served. A call that arrives earlier waits for
the same loading, so nothing is loaded twice.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from typing import Protocol

from api.front.check_result import CheckResult
from domain.calls.models import Adapter

AGAIN_S = 10.0
"""Seconds between two attempts."""

_log = logging.getLogger("keyledger.llm")


class Loadable(Protocol):
    """An adapter that must be loaded before use."""

    @property
    def warm(self) -> bool:
        """Whether everything is loaded."""
        ...

    async def warm_up(self) -> None:
        """Load it. Does nothing if that is done. Raises whatever a broken installation raises."""
        ...


class Warming:
    """A task on the event loop that loads adapters and ends when all are loaded."""

    def __init__(self, adapters: Mapping[Adapter, Loadable], needed: Callable[[], Set[Adapter]]) -> None:
        """needed: returns the adapters that the catalogue's models use now."""
        self._adapters = adapters
        self._needed = needed
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure = ""

    def start(self) -> None:
        """Start the task on the running event loop and return. Does nothing while it runs."""
        self._loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="warm up the language models")

    def look_again(self) -> None:
        """Load what is needed now. Callable from any thread. Does nothing before `start`."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.start)

    async def stop(self) -> None:
        """Cancel the task. An import that has started in a thread continues there."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def check(self) -> CheckResult:
        """Return whether the next call finds its adapter loaded."""
        if not self._cold():
            return CheckResult(True, "loaded" if Adapter.LITELLM in self._needed() else "no model needs LiteLLM")
        if self._failure:
            return CheckResult(False, f"LiteLLM did not load ({self._failure}); retrying")
        return CheckResult(False, "loading")

    async def _run(self) -> None:
        while cold := self._cold():
            try:
                for adapter in cold:
                    await adapter.warm_up()
            except Exception as error:  # noqa: BLE001  a broken installation can raise anything
                failure = type(error).__name__
                if failure != self._failure:
                    _log.error("the adapter for language models did not load: %s; retrying", failure)
                self._failure = failure
                await asyncio.sleep(AGAIN_S)

    def _cold(self) -> list[Loadable]:
        return [self._adapters[one] for one in sorted(self._needed()) if not self._adapters[one].warm]
