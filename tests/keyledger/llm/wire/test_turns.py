"""Long responses take turns and rests."""

import asyncio

import pytest

from keyledger.llm.wire.turns import LONG_S, REST_MAX_S, Turns


def test_a_step_that_took_long_is_followed_by_a_rest_of_its_length():
    rests: list[float] = []

    async def pause(seconds: float) -> None:
        rests.append(seconds)

    async def use() -> None:
        turns = Turns(pause)
        for steps in ((LONG_S / 2,), (0.002,), (), (0.002, 0.003), (1.0,)):
            for seconds in steps:
                turns.took(seconds)
            await turns.of().wait()

    asyncio.run(use())
    assert rests == [0.0, 0.002, 0.0, 0.005, REST_MAX_S]


def test_one_long_response_has_its_turn_after_the_other():
    order: list[int] = []

    async def use() -> None:
        turns, waiting = Turns(), asyncio.Event()

        async def respond(number: int) -> None:
            await waiting.wait()
            for _ in range(2):
                await turns.of().wait()
                order.append(number)

        responses = [asyncio.ensure_future(respond(number)) for number in range(3)]
        waiting.set()
        await asyncio.gather(*responses)

    asyncio.run(use())
    assert order == [0, 1, 2, 0, 1, 2]


WAITING = {
    "a key with many responses": (["a/1"] * 5 + ["b/1"] * 2, ["a/1", "a/1", "b/1", "a/1", "b/1", "a/1", "a/1"]),
    "a key with many tenants": (
        ["a/1", "a/2", "a/3", "a/4", "b/1", "b/1"],
        ["a/1", "a/2", "b/1", "a/3", "b/1", "a/4"],
    ),
    "a tenant with many responses": (["a/1"] * 4 + ["a/2"] * 2, ["a/1", "a/1", "a/2", "a/1", "a/2", "a/1"]),
}


@pytest.mark.parametrize(("asking", "served"), WAITING.values(), ids=WAITING)
def test_the_turns_go_round_the_keys_and_within_a_key_round_its_tenants(asking: list[str], served: list[str]):
    order: list[str] = []

    async def use() -> None:
        turns = Turns()

        async def respond(whose: str) -> None:
            await turns.of(*whose.split("/")).wait()
            order.append(whose)

        await asyncio.gather(*map(respond, asking))

    asyncio.run(use())
    assert order == served


@pytest.mark.parametrize("rounds", range(6))
def test_a_response_that_ends_while_it_waits_keeps_no_turn_from_the_others(rounds: int):
    async def use() -> int:
        turns, order = Turns(), list[int]()

        async def respond(number: int) -> None:
            await turns.of(str(number % 2)).wait()
            order.append(number)

        responses = [asyncio.ensure_future(respond(number)) for number in range(5)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        left = sum(response.cancel() for response in responses[1:4])
        await asyncio.gather(*responses, return_exceptions=True)
        await respond(5)
        return len(order) + left

    assert asyncio.run(use()) == 6
