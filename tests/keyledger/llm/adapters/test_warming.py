"""Everything the first call needs is loaded before it, again after a failure, and not at all when no model needs it."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Set

import pytest

from api.front.check_result import CheckResult
from domain.calls.models import Adapter
from keyledger.llm import Gateway
from keyledger.llm.adapters import warming
from keyledger.llm.adapters.warming import Warming
from tests.keyledger.llm.rig import KEY, PROVIDERS, TENANT, Keys, catalogue, chunks, stand_in, whole, with_gateway
from tests.support.places import REPOSITORY

BOTH = frozenset(Adapter)


class Stubborn:
    """An adapter that fails to load some times, or waits for a word before it does."""

    def __init__(self, failures: int = 0, go_on: asyncio.Event | None = None) -> None:
        self.failures = failures
        self.tries = 0
        self._go_on = go_on

    @property
    def warm(self) -> bool:
        return self.tries > self.failures

    async def warm_up(self) -> None:
        if self._go_on is not None:
            await self._go_on.wait()
        self.tries += 1
        if not self.warm:
            raise ImportError("a text that may hold anything")


def warming_of(litellm: Stubborn, needed: Set[Adapter] = BOTH) -> Warming:
    return Warming({Adapter.LITELLM: litellm, Adapter.LEGACY: Stubborn(failures=-1)}, lambda: needed)


def test_it_is_loading_until_it_is_loaded() -> None:
    async def live() -> None:
        go_on = asyncio.Event()
        beside = warming_of(Stubborn(go_on=go_on))
        beside.start()
        beside.start()
        assert beside.check() == CheckResult(False, "loading")
        go_on.set()
        while not beside.check().ok:  # noqa: ASYNC110  the task has its turn
            await asyncio.sleep(0)
        assert beside.check() == CheckResult(True, "loaded")
        await beside.stop()

    asyncio.run(live())


def test_what_did_not_load_is_shown_logged_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(warming, "AGAIN_S", 0)
    broken, shown = Stubborn(failures=3), set[CheckResult]()

    async def live() -> None:
        beside = warming_of(broken)
        beside.start()
        while not beside.check().ok:
            shown.add(beside.check())
            await asyncio.sleep(0)
        await beside.stop()

    with caplog.at_level(logging.ERROR, "keyledger.llm"):
        asyncio.run(live())
    assert broken.tries == 4
    assert CheckResult(False, "LiteLLM did not load (ImportError); retrying") in shown
    assert [record.getMessage() for record in caplog.records] == [
        "the adapter for language models did not load: ImportError; retrying"
    ]


def test_a_catalogue_whose_models_need_no_litellm_does_not_load_it() -> None:
    litellm = Stubborn()

    async def live() -> None:
        beside = warming_of(litellm, {Adapter.LEGACY})
        beside.start()
        assert beside.check() == CheckResult(True, "no model needs LiteLLM")
        await beside.stop()

    asyncio.run(live())
    assert litellm.tries == 0


def test_what_a_new_catalogue_needs_is_loaded_when_it_is_in_force() -> None:
    litellm, needed = Stubborn(), {Adapter.LEGACY}

    async def live() -> None:
        beside = warming_of(litellm, needed)
        beside.look_again()  # before the start nothing is needed
        beside.start()
        needed.add(Adapter.LITELLM)
        await asyncio.to_thread(beside.look_again)
        while not beside.check().ok:  # noqa: ASYNC110  the task has its turn
            await asyncio.sleep(0)
        await beside.stop()

    asyncio.run(live())
    assert litellm.tries == 1


@pytest.mark.long
def test_the_first_call_finds_everything_loaded() -> None:
    """In a fresh interpreter: whatever another test has loaded would hide what a call loads."""
    command = "from tests.keyledger.llm.adapters.test_warming import modules_of_first_calls; modules_of_first_calls()"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def modules_of_first_calls() -> None:
    """Print what the first call of each kind to each provider imports after the gateway has warmed up."""

    async def use(gateway: Gateway) -> None:
        gateway.warming.start()
        while not gateway.warming.check().ok:  # noqa: ASYNC110  a thread loads it
            await asyncio.sleep(0.01)
        for name, call in first_calls(gateway):
            before = set(sys.modules)
            await call()
            if loaded := sorted(set(sys.modules) - before):
                print(name, *loaded)

    with stand_in(KEY) as provider:
        with_gateway(Keys(provider.url), use)


def first_calls(gateway: Gateway) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    calls: list[tuple[str, Callable[[], Awaitable[object]]]] = []
    names = {model.name for model in catalogue().models}
    for provider in PROVIDERS:
        for model in (f"{provider}-{adapter.value}" for adapter in Adapter):
            calls.append((f"{model} chat", lambda model=model: whole(gateway, model)))  # type: ignore[misc]
            calls.append((f"{model} stream", lambda model=model: chunks(gateway, model)))  # type: ignore[misc]
            if f"{model}-emb" in names and provider != "anthropic":
                embed = lambda model=model: gateway.embed(TENANT, f"{model}-emb", {"input": "hello"})  # noqa: E731
                calls.append((f"{model} embeddings", embed))
    return calls


def test_a_process_that_leaves_it_to_others_loads_nothing_before_them_and_then_for_a_call_only() -> None:
    litellm = Stubborn()

    async def live() -> None:
        beside = warming_of(litellm)
        beside.leave_to_others()
        beside.start()
        call = asyncio.create_task(beside.may_load(litellm))
        await beside.may_load(Stubborn(failures=-1))  # what is loaded is used at once
        for _ in range(3):
            await asyncio.sleep(0)
        assert (call.done(), beside.check()) == (False, CheckResult(False, "loading"))
        beside.others_are_loaded()
        await call
        assert beside.check() == CheckResult(True, "loaded by the other processes")
        await beside.stop()

    asyncio.run(live())
    assert litellm.tries == 0
