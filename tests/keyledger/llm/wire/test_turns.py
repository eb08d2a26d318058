"""Long responses take turns and rests."""

import asyncio

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
            await turns.wait()

    asyncio.run(use())
    assert rests == [0.0, 0.002, 0.0, 0.005, REST_MAX_S]


def test_one_long_response_has_its_turn_after_the_other():
    order: list[int] = []

    async def use() -> None:
        turns, waiting = Turns(), asyncio.Event()

        async def respond(number: int) -> None:
            await waiting.wait()
            for _ in range(2):
                await turns.wait()
                order.append(number)

        responses = [asyncio.ensure_future(respond(number)) for number in range(3)]
        waiting.set()
        await asyncio.gather(*responses)

    asyncio.run(use())
    assert order == [0, 1, 2, 0, 1, 2]
