"""Loads in the background what the first call would otherwise wait for, and reports its progress.

Promises: only adapters used by a model in the catalogue are loaded; a failure is logged once, shown by `check`, and
retried every `AGAIN_S` seconds, while everything that needs no adapter is served. A call that arrives earlier waits for
the same loading, so nothing is loaded twice. A process that leaves the loading to others of its node loads nothing
before they have, and then only for calls that wait for it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from typing import Protocol

from api.front.check_result import CheckResult
from domain.calls.models import Adapter, Model
from keyledger.settings.ai_models import Catalogue

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


def adapter_of(model: Model) -> Adapter:
    """Return the adapter that calls a model."""
    return Adapter.LITELLM if model.by_litellm and model.adapter is Adapter.LITELLM else Adapter.LEGACY


def needs_litellm(catalogue: Catalogue) -> bool:
    """Return whether calls to some model of a catalogue need LiteLLM, which takes seconds to load."""
    return any(adapter_of(model) is Adapter.LITELLM for model in catalogue.models)


class Warming:
    """A task on the event loop that loads adapters and ends when all are loaded."""

    def __init__(self, adapters: Mapping[Adapter, Loadable], needed: Callable[[], Set[Adapter]]) -> None:
        """needed: returns the adapters that the catalogue's models use now."""
        self._adapters = adapters
        self._needed = needed
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure = ""
        self._left_to_others = False
        self._others_are_loaded = asyncio.Event()

    def leave_to_others(self) -> None:
        """Load nothing before `others_are_loaded`. Call it before `start`."""
        self._left_to_others = True

    def others_are_loaded(self) -> None:
        """Let calls that wait load what they need: no others will come. For the event loop."""
        self._others_are_loaded.set()

    async def may_load(self, adapter: Loadable) -> None:
        """Wait until this process may load an adapter, or at once use the one that it has loaded."""
        if self._left_to_others and not adapter.warm:
            await self._others_are_loaded.wait()

    def start(self) -> None:
        """Start the task on the running event loop and return. Does nothing while it runs."""
        self._loop = asyncio.get_running_loop()
        if self._left_to_others:
            return
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
        if self._others_are_loaded.is_set():
            return CheckResult(True, "loaded by the other processes")
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
