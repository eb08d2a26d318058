"""An answer of a provider whose pieces arrive when a test says so, as a reader of answers sees it."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from multidict import CIMultiDict

from keyledger.llm.wire.answer_reader import AnswerReader, Limits
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.turns import Turns


class FedAnswer:
    """Stands in for aiohttp's response; its content is aiohttp's own.

    headers: with underscores in place of hyphens. ended: all of it has arrived.
    """

    def __init__(self, *pieces: bytes, headers: Mapping[str, str], ended: bool = False) -> None:
        self.closed = False
        self.headers = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
        protocol = SimpleNamespace(connected=True, pause_reading=lambda: None, resume_reading=lambda **_: None)
        self.content = aiohttp.StreamReader(cast(Any, protocol), 2**16, loop=asyncio.get_running_loop())

        for piece in pieces:
            self.content.feed_data(piece)
        if ended:
            self.content.feed_eof()

    def close(self) -> None:
        self.closed = True


def reader_of(
    answer: FedAnswer,
    key: str,
    observation: Observation | None = None,
    turns: Turns | None = None,
    size: int = 2**24,
    names: tuple[str, ...] = (),
) -> AnswerReader:
    """Return a reader of this answer. size: the most bytes, inflated. names: whose the answer is."""
    limits = Limits(size, 60, None)
    turns_of_one = (turns or Turns()).of(*names)
    return AnswerReader(cast(Any, answer), observation or Observation(), KeyForms(key), limits, turns_of_one)
