"""Everything that callers hold: shares of calls, bytes of bodies, and rates."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.front.bounds.chosen import MIB, Bounds
from api.front.bounds.node_counts import OwnCounts
from api.front.bounds.reached import Bound
from api.front.bounds.shares import Shares
from api.front.problems import HttpError

SHORT = 64 * 1024
TEN = replace(Bounds(), connections=10, key_share=80, call_share=90, tenant_share=40, provider_share=60)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def shares(clock=None):
    reached: list[Bound] = []
    return Shares(reached.append, OwnCounts(clock or Clock())), reached


def call(held, tenant, provider):
    try:
        held.begin_call(tenant, provider)
    except HttpError as refused:
        return refused.code
    return "begun"


def begun(holding, key, tenants, provider, tries=1000):
    """How many of the calls of one key to one provider begin. tenants: taken by turns."""
    return sum(
        call(holding.hold(key, Bounds()), tenants[number % len(tenants)], provider) == "begun"
        for number in range(tries)
    )


STRANGERS = [f"tenant {number}" for number in range(1000)]


def test_a_tenant_leaves_calls_to_other_tenants():
    holding, reached = shares()
    assert begun(holding, "app", ["a"], "openai", 402) == 400
    assert call(holding.hold("app", Bounds()), "b", "openai") == "begun"
    assert call(holding.hold("app", Bounds()), "a", "mistral") == "limit-reached"
    assert reached == [Bound.TENANT_CALLS] * 3


def test_tenants_whose_calls_hang_leave_calls_to_the_provider_with_the_same_key():
    holding, _ = shares()
    assert begun(holding, "app", ["a"], "vllm") == 400
    assert begun(holding, "app", ["b"], "vllm") == 45
    assert call(holding.hold("app", Bounds()), "c", "vllm") == "begun"


def test_a_provider_that_hangs_leaves_calls_to_other_providers():
    holding, reached = shares()
    assert begun(holding, "app", STRANGERS, "openai") == 450
    assert begun(holding, "app", STRANGERS, "mistral") == 450
    assert set(reached) == {Bound.PROVIDER_CALLS}


@pytest.mark.parametrize(
    ("keys", "expected"), [(["a"], [450]), (["a", "b"], [450, 113]), (["a", "b", "c"], [450, 113, 28])]
)
def test_keys_that_take_all_they_get_of_a_provider_leave_calls_to_another_key(keys, expected):
    holding, reached = shares()
    assert [begun(holding, key, STRANGERS, "openai") for key in keys] == expected
    assert set(reached) == {Bound.PROVIDER_CALLS}
    assert call(holding.hold("other", Bounds()), "x", "openai") == "begun"


def test_the_refusal_of_a_key_s_call_says_what_is_under_way():
    holding, _ = shares()
    begun(holding, "app", STRANGERS, "openai")
    with pytest.raises(
        HttpError, match=r"Of the 600 calls .* 450 are, 450 of them with this service key.*PROVIDER_SHARE"
    ):
        holding.hold("app", Bounds()).begin_call("x", "openai")


@pytest.mark.parametrize("connections", range(1, 60))
def test_however_few_connections_there_are_a_call_can_begin_and_each_share_is_kept(connections):
    holding, _ = shares()
    bounds = replace(Bounds(), connections=connections)
    assert call(holding.hold("app", bounds), "a", "openai") == "begun"
    for number in range(200):
        call(holding.hold(f"key {number % 7}", bounds), f"tenant {number % 11}", "openai")
    assert 1 <= holding.calls <= bounds.share(bounds.provider_share)


def test_all_calls_together_leave_room_for_administrators():
    holding, reached = shares()
    begun = [call(holding.hold("app", TEN), str(number), str(number)) for number in range(10)]
    assert begun == ["begun"] * 9 + ["provider-busy"]
    assert reached == [Bound.CALLS]


@pytest.mark.parametrize(
    ("chosen", "sizes", "key", "bound"),
    [
        pytest.param({"key_body_bytes": MIB}, [SHORT, SHORT, MIB - 2 * SHORT], "a", Bound.KEY_BODIES, id="of one key"),
        pytest.param({"body_bytes": MIB}, [SHORT, SHORT, MIB - 2 * SHORT], "b", Bound.BODIES, id="of all keys"),
    ],
)
def test_bytes_of_bodies_are_bounded(chosen, sizes, key, bound):
    holding, reached = shares()
    bounds = replace(Bounds(), **chosen)
    first = holding.hold("a", bounds)
    for size in sizes:
        first.take_bytes(size)
    assert holding.bytes == MIB
    other = holding.hold(key, bounds)
    with pytest.raises(HttpError, match="BODY_MIB"):
        other.take_bytes(SHORT + 1)
    assert reached == [bound]
    first.release()
    other.release()
    another = holding.hold(key, bounds)
    another.take_bytes(MIB)
    another.release()
    assert holding.bytes == 0


def test_what_is_kept_at_a_time_is_counted_and_a_shorter_message_gives_back_what_a_longer_one_took():
    holding, _ = shares()
    bounds = replace(Bounds(), key_body_bytes=MIB, body_bytes=MIB)
    held = holding.hold("a", bounds)
    for size, counted in ((MIB, MIB), (SHORT + 1, SHORT + 1), (SHORT, 0), (MIB // 2, MIB // 2), (0, 0)):
        held.keep_bytes(size)
        assert (holding.bytes, holding.bytes_of_key["a"]) == (counted, counted)
    held.keep_bytes(MIB // 2)
    with pytest.raises(HttpError, match="BODY_MIB"):
        held.keep_bytes(MIB + 1)
    held.release()
    assert (holding.bytes, dict(holding.bytes_of_key)) == (0, {})


def test_another_key_is_not_held_up_by_the_long_bodies_of_two():
    holding, _ = shares()
    for key in ("a", "b"):
        with pytest.raises(HttpError, match="KEY_BODY_MIB"):
            for _ in range(100):
                holding.hold(key, Bounds()).take_bytes(8 * MIB)
    for _ in range(10):
        holding.hold("c", Bounds()).take_bytes(8 * MIB)


def test_a_short_body_is_served_whatever_others_hold():
    holding, _ = shares()
    bounds = replace(Bounds(), key_body_bytes=MIB, body_bytes=MIB)
    holding.hold("a", bounds).take_bytes(MIB)
    for key in ("a", "b"):
        held = holding.hold(key, bounds)
        for _ in range(SHORT):
            held.take_bytes(1)
        with pytest.raises(HttpError, match="BODY_MIB"):
            held.take_bytes(1)


@pytest.mark.parametrize(
    ("chosen", "name", "bound"),
    [
        pytest.param({"key_requests": 60}, "KEY_REQUESTS_PER_MINUTE", Bound.KEY_RATE, id="requests of a key"),
        pytest.param({"tenant_calls": 60}, "TENANT_CALLS_PER_MINUTE", Bound.TENANT_RATE, id="calls of a tenant"),
        pytest.param({"provider_calls": 60}, "PROVIDER_CALLS_PER_MINUTE", Bound.PROVIDER_RATE, id="of a provider"),
    ],
)
def test_a_minute_has_its_number_and_a_second_later_there_is_room_for_one_more(chosen, name, bound):
    clock = Clock()
    holding, reached = shares(clock)
    bounds = replace(Bounds(), **chosen)

    def one():
        held = holding.hold("app", bounds)
        held.begin_call("a", "openai")
        held.release()

    for _ in range(60):
        one()
    with pytest.raises(HttpError, match=name) as refused:
        one()
    assert refused.value.headers == {"Retry-After": "1"}
    assert reached == [bound]
    clock.now += 1
    one()
    with pytest.raises(HttpError):
        one()
    clock.now += 60
    for _ in range(60):
        one()


def test_without_a_rate_there_is_none():
    holding, reached = shares()
    for number in range(10_000):
        held = holding.hold("app", Bounds())
        held.begin_call(str(number), "openai")
        held.release()
    assert reached == []
    assert holding.tenant_rates.names == 0


def test_names_that_callers_invent_are_forgotten():
    clock = Clock()
    holding, _ = shares(clock)
    bounds = replace(Bounds(), tenant_calls=600)
    for number in range(20_000):
        clock.now += 0.01
        held = holding.hold("app", bounds)
        held.begin_call(str(number), "openai")
        held.release()
    assert holding.tenant_rates.names < 5000
    assert not holding.calls_of


ENDS = ("returns", "raises", "is cancelled", "is refused")


@given(st.lists(st.tuples(st.sampled_from(ENDS), st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 9))))
def test_however_requests_end_and_in_whatever_order_nothing_is_held_in_the_end(requests):
    holding, _ = shares()

    async def request(end, tenant, provider, turns):
        held = holding.hold("app", TEN)
        try:
            held.take_bytes(turns * SHORT)
            held.begin_call(tenant, provider)
            for _ in range(turns):
                await asyncio.sleep(0)
            if end == "raises":
                raise ValueError
            if end == "is cancelled":
                await asyncio.get_running_loop().create_future()
        finally:
            held.release()
            held.release()

    async def all_of_them():
        running = [asyncio.create_task(request(*one)) for one in requests]
        for _ in range(12):
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(all_of_them())
    assert (holding.calls, holding.bytes) == (0, 0)
    assert not (holding.calls_of or holding.bytes_of_key)
