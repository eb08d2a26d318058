"""Budgets on a real database: blocks, nodes, crowds, periods, lost answers and restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event

import pytest

from domain.access.budgets import HELD_S, BudgetKind, BudgetPlace, Granted
from domain.calls.call_admission import Asked, Reservation
from domain.calls.prices import Price
from domain.calls.tokens import Tokens
from domain.errors import AccessError, ServiceError, StoreUnavailableError
from keyledger.usage.budget_account import IDLE_S
from keyledger.usage.budget_keeper import BudgetKeeper
from projections.usage.access_key_budgets import PostgresBudgetBlocks
from tests.support.faulty_link import Fault, faulty_link
from tests.support.store import Store, open_store

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = {BudgetKind.TOKENS_PER_DAY: Decimal(1000)}
MONTH = {BudgetKind.SPEND_PER_MONTH: Decimal("1.00")}
PRICE = Price(Decimal("0.001"), Decimal("0.002"))


@dataclass
class Node:
    """One process, with a clock of the day and one that no one sets."""

    store: Store
    now: datetime = NOON
    seconds: float = 1000.0
    keeper: BudgetKeeper = field(init=False)

    def __post_init__(self) -> None:
        blocks = PostgresBudgetBlocks(self.store.pool)
        self.keeper = BudgetKeeper(blocks, lambda: self.now, lambda: self.seconds)

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds

    async def reserve(
        self, tokens: int = 10, limits: dict[BudgetKind, Decimal] = DAY, price: Price | None = PRICE, key: str = "app"
    ) -> Reservation:
        asked = Asked(Tokens(tokens, 0), "gpt-4o", price, "USD")
        return await self.keeper.reserve(key, limits, asked)

    async def refused(self, tokens: int = 10, limits: dict[BudgetKind, Decimal] = DAY) -> AccessError:
        with pytest.raises(AccessError) as refused:
            await self.reserve(tokens, limits)
        return refused.value

    async def spend(self, tokens: int, limits: dict[BudgetKind, Decimal] = DAY) -> None:
        (await self.reserve(tokens, limits)).settle(Tokens(tokens, 0), PRICE.cost(Tokens(tokens, 0)))


def spent(store: Store) -> Decimal:
    with store.superuser() as database:
        row = database.execute("SELECT coalesce(sum(spent), 0) AS n FROM access_key_budgets").fetchone()
    assert row is not None
    return Decimal(row["n"])


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_a_budget_that_is_used_up_says_until_when_and_what_would_lift_it(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        await node.spend(1000)
        refused = await node.refused(1)
        assert (refused.code, refused.retry_after) == ("budget-reached", 12 * 3600 + 1)
        for text in ("1000 tokens of its tokens_per_day since 2026-03-31", "2026-04-01T00:00:00Z", "raises the limit"):
            assert text in refused.detail
        await node.spend(5, {BudgetKind.TOKENS_PER_DAY: Decimal(1005)})  # it was raised
        node.pass_by(12 * 3600)
        await node.spend(1000)  # the next day

    run(work)


def test_a_budget_of_spend_lasts_a_month_and_is_exact(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        for _ in range(10):
            await node.spend(100, MONTH)
        refused = await node.refused(1, MONTH)
        assert (refused.code, refused.retry_after) == ("budget-reached", 12 * 3600 + 1)
        await node.keeper.tend()
        assert spent(store) == Decimal("1.000")
        node.pass_by(12 * 3600)
        await node.spend(100, MONTH)

    run(work)


def test_a_model_without_a_price_is_refused_by_name_where_spend_is_limited(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        with pytest.raises(AccessError) as refused:
            await node.reserve(limits={**DAY, **MONTH}, price=None)
        assert refused.value.code == "model-without-price"
        assert "The model gpt-4o has no price" in refused.value.detail
        await node.reserve(limits=DAY, price=None)

    run(work)


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_crowd_exceeds_a_budget_by_at_most_one_call_a_node(store: Store, nodes: int) -> None:
    """Each call may use 30 tokens, and uses 20."""

    async def call(node: Node) -> bool:
        try:
            reservation = await node.reserve(30)
        except AccessError:
            return False
        await asyncio.sleep(0)
        reservation.settle(Tokens(20, 0), None)
        return True

    async def work() -> None:
        each = [Node(store) for _ in range(nodes)]
        admitted, rounds = [True], 0
        while any(admitted) or rounds < 3:
            admitted = await asyncio.gather(*(call(each[number % nodes]) for number in range(64)))
            rounds += 1
            for node in each:
                node.pass_by(IDLE_S + 1)
                await node.keeper.tend()
        assert 1000 <= spent(store) <= 1000 + 30 * nodes

    run(work)


def test_with_too_little_left_one_call_is_made_at_a_time(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        await node.spend(995)
        outcomes = await asyncio.gather(*(node.reserve(100) for _ in range(64)), return_exceptions=True)
        (alone,) = [one for one in outcomes if not isinstance(one, BaseException)]
        refused = [one for one in outcomes if isinstance(one, ServiceError)]
        assert {(one.code, one.retry_after) for one in refused} == {("budget-reached", 2)}
        alone.settle(Tokens(100, 0), None)
        assert (await node.refused(1)).retry_after == 12 * 3600 + 1
        await node.keeper.tend()
        assert spent(store) == 1095

    run(work)


def test_what_is_not_known_is_taken_as_reserved_and_what_was_not_used_comes_back(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        for tokens, left in ((None, 300), (Tokens(0, 0), 300), (Tokens(20, 30), 250)):
            reservation = await node.reserve(700 if tokens is None else 200)
            reservation.settle(tokens, None)
            reservation.settle(None, None)
            await node.keeper.tend()
            assert spent(store) == 1000 - left

    run(work)


def test_a_node_uses_what_others_gave_back_or_let_lapse(store: Store) -> None:
    async def work() -> None:
        one, other = Node(store), Node(store)
        reservation = await one.reserve(1000)
        assert (await other.refused(10)).retry_after == 2
        reservation.settle(Tokens(100, 0), None)
        one.pass_by(IDLE_S + 1)
        await one.keeper.tend()
        other.pass_by(1)
        await other.reserve(900)
        assert (await one.refused(10)).retry_after == 2
        with store.superuser() as database:  # the other is killed, and a minute passes
            database.execute("UPDATE access_key_budgets SET held_until = held_until - interval '61 seconds'")
        one.pass_by(1)
        await one.reserve(900)

    run(work)


def test_a_block_is_not_used_for_longer_than_the_database_keeps_it(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        await node.spend(1)
        store.pool.close()
        (await node.reserve(1)).settle(Tokens(1, 0), None)
        node.pass_by(HELD_S)
        with pytest.raises(StoreUnavailableError):
            await node.reserve(1)

    run(work)


def test_a_stop_writes_everything_and_gives_blocks_back_and_a_restart_forgets_nothing(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        await node.keeper.start()
        await node.spend(400)
        await node.keeper.stop()
        after = Node(store)
        await after.spend(600)
        assert (await after.refused(1)).retry_after == 12 * 3600 + 1

    run(work)


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
@pytest.mark.parametrize("statement", ["INTO access_key_budgets", "COMMIT"])
def test_a_lost_answer_neither_loses_nor_doubles_what_was_used(database_url: str, statement: str, fault: Fault) -> None:
    async def work() -> None:
        with faulty_link(database_url) as link, open_store(link.url) as store:
            node = Node(store)
            await node.spend(400)
            link.break_next(statement, fault)
            await node.keeper.tend()
            while spent(store) != 400:
                await node.keeper.tend()
            assert link.faults_met == 1
            await node.spend(600)
            assert (await node.refused(1)).retry_after == 12 * 3600 + 1

    run(work)


def test_a_caller_that_leaves_while_it_waits_holds_nothing(store: Store) -> None:
    async def work() -> None:
        node = Node(store)
        for limits in (DAY, {**DAY, **MONTH}):
            waiting = asyncio.create_task(node.reserve(600, limits))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        reservation = await node.reserve(1000, DAY)
        reservation.settle(Tokens(0, 0), None)

    run(work)


@dataclass
class SlowBlocks:
    """Grants what is wanted. The first write takes until `answers` is set."""

    asked: Event = field(default_factory=Event)
    answers: Event = field(default_factory=Event)
    begun: list[Decimal] = field(default_factory=list)
    ended: list[Decimal] = field(default_factory=list)

    def settle(self, place: BudgetPlace, limit: Decimal, spent: Decimal, wanted: Decimal) -> Granted:
        self.begun.append(wanted)
        self.asked.set()
        if len(self.begun) == 1:
            self.answers.wait(60)
        self.ended.append(wanted)
        return Granted(wanted, Decimal(0), Decimal(0))


def test_a_write_of_a_caller_that_left_never_comes_after_the_next_one() -> None:
    """Otherwise the database would know of a smaller block than this process uses, and give the rest to others."""

    async def work() -> None:
        blocks = SlowBlocks()
        keeper = BudgetKeeper(blocks, lambda: NOON)
        asked = [Asked(Tokens(tokens, 0), "gpt-4o", PRICE, "USD") for tokens in (10, 900)]
        leaving = asyncio.create_task(keeper.reserve("app", DAY, asked[0]))
        await asyncio.to_thread(blocks.asked.wait, 60)
        leaving.cancel()
        following = asyncio.create_task(keeper.reserve("app", DAY, asked[1]))
        for _ in range(1000):
            await asyncio.sleep(0)
        begun_meanwhile = len(blocks.begun)
        blocks.answers.set()
        assert begun_meanwhile == 1
        await following
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert blocks.ended == blocks.begun

    run(work)
