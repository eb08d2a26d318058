"""A name that is slow to look up holds up no one but its own callers."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from domain.errors import ProviderUnavailableError
from keyledger.llm import Timeouts
from keyledger.llm.wire.dialling import SystemLookup, addresses_of
from tests.keyledger.llm.rig import TENANT, Keys, whole, with_gateway

SLOW = "slow.example.com"
GUARD = 20


class Names:
    """Looks names up; those that begin with `slow` are not answered before `answer`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answered = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("slow"):
            self._answered.wait(GUARD)
        return ["93.184.215.14"]

    def answer(self) -> None:
        self._answered.set()


@contextmanager
def names() -> Iterator[Names]:
    made = Names()
    try:
        yield made
    finally:
        made.answer()


async def _given_up(lookup: Callable, host: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lookup(host, 443)


def test_a_slow_name_is_looked_up_once_however_often_it_is_called():
    async def run() -> Sequence[Sequence[str]]:
        with names() as found:
            lookup = SystemLookup(found)
            for _ in range(40):
                await _given_up(lookup, SLOW)
            waiting = [asyncio.ensure_future(lookup(SLOW, port)) for port in (443, 8443)]
            assert await lookup("quick.example.com", 443) == ["93.184.215.14"]
            assert found.asked == [SLOW, "quick.example.com"]
            found.answer()
            return await asyncio.gather(*waiting)

    assert asyncio.run(run()) == [["93.184.215.14"]] * 2


def test_a_name_is_looked_up_anew_for_each_connection():
    async def run() -> list[str]:
        found = Names()
        lookup = SystemLookup(found)
        await lookup("a.example.com", 443)
        await lookup("a.example.com", 443)
        return found.asked

    assert asyncio.run(run()) == ["a.example.com"] * 2


def test_beyond_the_most_lookups_a_name_waits_for_its_turn():
    async def run() -> list[str]:
        with names() as found:
            lookup = SystemLookup(found, most=2)
            for number in range(5):
                await _given_up(lookup, f"slow-{number}.example.com")
            waiting = asyncio.ensure_future(lookup("quick.example.com", 443))
            found.answer()
            await waiting
            return found.asked

    assert asyncio.run(run()) == ["slow-0.example.com", "slow-1.example.com", "quick.example.com"]


def test_lookups_for_tenants_and_the_threads_of_the_loop_do_not_wait_for_each_other():
    released = threading.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads, names() as found:
            loop.set_default_executor(threads)
            lookup = SystemLookup(found)
            await _given_up(lookup, SLOW)
            async with asyncio.timeout(GUARD):
                assert await loop.getaddrinfo("127.0.0.1", 80)
                blocked = loop.run_in_executor(None, released.wait, GUARD)
                try:
                    assert await SystemLookup()("localhost", 80)
                finally:
                    released.set()
                await blocked

    asyncio.run(run())


def test_a_tenant_with_a_slow_name_times_out_and_the_next_is_served_at_once():
    keys = Keys(f"https://{SLOW}", chosen_by_tenant=True)

    with names() as found:

        async def use(gateway) -> None:
            for _ in range(40):
                with pytest.raises(ProviderUnavailableError):
                    await whole(gateway, "openai-litellm", TENANT)
            keys.url = "https://quick.example.com"
            with pytest.raises(ProviderUnavailableError):
                await whole(gateway, "openai-litellm", TENANT)

        with_gateway(keys, use, timeouts=Timeouts(connect=0.02, answer=1), lookup=SystemLookup(found))
        assert found.asked == [SLOW, "quick.example.com"]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".example.com", "a..example.com"])
def test_a_name_that_cannot_be_looked_up_is_an_error_of_the_system(host):
    with pytest.raises(OSError):
        asyncio.run(SystemLookup()(host, 443))


def test_the_addresses_of_a_name_are_named_once():
    found = addresses_of("127.0.0.1")
    assert found == ["127.0.0.1"]
