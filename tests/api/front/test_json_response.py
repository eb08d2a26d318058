"""A long answer is encoded in steps, to the same bytes."""

import asyncio

import pytest

from api.front.json_response import encode, json_response_in_steps

VALUES: dict[str, dict[str, object]] = {
    "a short answer": {"a": 1, "b": [1, 2], "c": {}},
    "embeddings": {
        "object": "list",
        "data": [{"index": n, "embedding": [n / 3] * 3000} for n in range(5)],
        "usage": {},
    },
    "vectors in base64": {"data": [{"index": n, "embedding": "A" * 4000} for n in range(3000)]},
    "log probabilities": {"choices": [{"logprobs": {"content": [{"token": "a", "bytes": [97]}] * 3000}}, {}]},
    "numbers and texts in one list": {"data": [1, "é", None, True, [2.5, {}]] * 1000},
    "lists of nothing": {"data": [[], {}, [[]]] * 1000, "": {"": [{}]}},
}


@pytest.mark.parametrize("what", VALUES)
def test_the_steps_make_the_same_text(what: str) -> None:
    response = asyncio.run(json_response_in_steps(VALUES[what], {"X-A": "b"}))
    assert response.body == encode(VALUES[what])
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-a"] == "b"


def test_others_are_served_between_the_steps() -> None:
    turns = 0

    async def count_turns(over: asyncio.Event) -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    async def both() -> None:
        over = asyncio.Event()
        counting = asyncio.create_task(count_turns(over))
        await json_response_in_steps({"data": [{"embedding": [0.1] * 3000} for _ in range(100)]}, {})
        over.set()
        await counting

    asyncio.run(both())
    assert turns >= 100
