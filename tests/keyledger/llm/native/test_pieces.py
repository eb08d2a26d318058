"""The pieces of an answer, and what looking at them costs the others."""

import asyncio
from typing import Any, cast

import pytest

from domain.calls.tokens import ToldUsage
from domain.credentials.resolution import Receipt
from keyledger.llm.answers.told_usage import UsageOfEvents
from keyledger.llm.metering import MeteredCall
from keyledger.llm.native import pieces
from keyledger.llm.native.pieces import AnswerPieces
from keyledger.llm.wire.answer_reader import AnswerReader
from keyledger.llm.wire.observation import Observation


class Reader:
    """A response of some pieces, which notes how long its caller looked at each."""

    broken = False

    def __init__(self, *answer: bytes) -> None:
        self.answer = list(answer)
        self.times: list[float] = []

    async def next(self) -> bytes | None:
        return self.answer.pop(0) if self.answer else None

    def took(self, seconds: float) -> None:
        self.times.append(seconds)


class Uncounted:
    def finish(self, **_: Any) -> None:
        pass


def test_the_time_of_looking_for_token_counts_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Slow(UsageOfEvents):
        def feed(self, piece: bytes) -> None:
            nonlocal now
            now += len(piece)
            super().feed(piece)

    monkeypatch.setattr(pieces, "perf_counter", lambda: now)
    told, reader = ToldUsage(), Reader(b'data: {"usage":', b'{"prompt_tokens": 1, "completion_tokens": 2}}\n')
    looked_at = AnswerPieces(
        cast("AnswerReader", reader),
        Observation(),
        cast("Receipt", None),
        cast("MeteredCall", Uncounted()),
        Slow(told),
    )

    async def read() -> None:
        while await looked_at.next() is not None:
            pass

    asyncio.run(read())
    assert told.tokens() == (1, 2, 0, 0, 0)
    assert reader.times == [15, 46, 1]
