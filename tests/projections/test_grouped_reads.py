"""Reads that come together are made together, and each is as fresh as one made alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from domain.errors import StoreUnavailable
from domain.resolution import Stored
from projections.current_credentials import PostgresCurrentCredentials, PostgresResolutionView
from projections.grouped_reads import GroupedReads
from projections.postgres import make_async_pool, open_pool
from tests.support.store import Store


@dataclass
class Source:
    """Values that change, read when a test lets it."""

    value: int = 0
    asked: list[list[str]] = field(default_factory=list)
    gates: list["asyncio.Future[None]"] = field(default_factory=list)

    async def read(self, keys: Sequence[str]) -> list[tuple[str, int]]:
        self.asked.append(list(keys))
        value = self.value
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return [(key, value) for key in keys]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_comes_while_a_read_is_under_way_is_answered_by_the_next_which_begins_later():
    async def run() -> None:
        source = Source()
        reads = GroupedReads(source.read, patience=1.0)
        first = asyncio.create_task(reads.get("a"))
        await settle()
        source.value = 1  # acknowledged before the others come
        others = [asyncio.create_task(reads.get(key)) for key in ("a", "b", "a", "c")]
        await settle()
        assert source.asked == [["a"]]
        source.gates[0].set_result(None)
        await settle()
        assert source.asked == [["a"], ["a", "b", "c"]]
        source.gates[1].set_result(None)
        assert await first == ("a", 0)
        assert await asyncio.gather(*others) == [("a", 1), ("b", 1), ("a", 1), ("c", 1)]
        last = asyncio.create_task(reads.get("z"))
        await settle()
        source.gates[2].set_result(None)
        assert await last == ("z", 1)

    asyncio.run(run())


def test_a_group_has_a_most_and_the_rest_is_next():
    async def run() -> None:
        source = Source()
        reads = GroupedReads(source.read, patience=1.0, most=2)
        tasks = [asyncio.create_task(reads.get(str(number))) for number in range(5)]
        await settle()
        for gate in range(3):
            source.gates[gate].set_result(None)
            await settle()
        await asyncio.gather(*tasks)
        assert source.asked == [["0"], ["1", "2"], ["3", "4"]]

    asyncio.run(run())


@pytest.mark.parametrize("who", ["the one that reads", "one that waits"])
def test_a_reader_that_gives_up_takes_nobody_s_answer_away(who):
    async def run() -> None:
        source = Source()
        reads = GroupedReads(source.read, patience=1.0)
        tasks = [asyncio.create_task(reads.get(key)) for key in ("a", "b", "b")]
        await settle()
        given_up = tasks.pop(0 if who == "the one that reads" else 1)
        given_up.cancel()
        await settle()
        for gate in source.gates:
            if not gate.done():
                gate.set_result(None)
        await settle()
        for gate in source.gates:
            if not gate.done():
                gate.set_result(None)
        answered = [key for key, _ in await asyncio.gather(*tasks)]
        assert answered == (["b", "b"] if who == "the one that reads" else ["a", "b"])
        assert given_up.cancelled()

    asyncio.run(run())


@pytest.mark.parametrize(("patience", "asked"), [(0.0, 1), (60.0, 2)], ids=["waited too long", "came just now"])
def test_when_a_read_fails_those_who_waited_long_fail_with_it_and_the_others_try(patience, asked):
    async def run() -> None:
        source = Source()
        reads = GroupedReads(source.read, patience=patience)
        tasks = [asyncio.create_task(reads.get(key)) for key in ("a", "b")]
        await settle()
        source.gates[0].set_exception(StoreUnavailable())
        await settle()
        assert len(source.asked) == asked
        if asked == 2:
            source.gates[1].set_exception(StoreUnavailable())
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
        assert not reads._waiting
        assert not reads._under_way

    asyncio.run(run())


def test_many_reads_of_the_view_are_what_each_alone_would_be(store: Store):
    tenants = [str(uuid4()) for _ in range(6)]
    for tenant in tenants[:4]:
        for provider in ("openai", "mistral"):
            store.set(tenant, provider, f"sk-{uuid4().hex}")
    store.delete(tenants[1], "openai")
    with store.superuser() as database:
        database.execute("DELETE FROM current_credentials WHERE tenant_id = %s", [tenants[2]])
        database.execute("UPDATE current_credentials SET version = 9 WHERE tenant_id = %s", [tenants[3]])
    wanted = [(tenant, provider) for tenant in tenants for provider in ("openai", "mistral", "azure")]

    async def together() -> list[Stored]:
        async with make_async_pool(store.url) as pool:
            view = PostgresResolutionView(pool)
            return await asyncio.gather(*[view.read(*one) for one in wanted * 3])

    with open_pool(store.url) as pool:
        alone = PostgresCurrentCredentials(pool)
        expected = [alone.read(*one) for one in wanted * 3]
    assert asyncio.run(together()) == expected
