"""An answer is inflated, searched and passed on in steps, within limits, and long ones take turns."""

import asyncio
import gc
import gzip
import os
import weakref
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from keyledger.llm.wire.answer_reader import AnswerReader, is_readable
from keyledger.llm.wire.inflating import RATIO_MAX
from keyledger.llm.wire.key_forms import KeyForms, Span, _Search
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.scrubbing import HOLD, STEP
from keyledger.llm.wire.turns import Turns
from tests.keyledger.llm.fed_answer import FedAnswer, reader_of

KEY = "sk-proj-Qx7_vT3-mLw9Za4Rk2YbN8uCe"
NOISE = os.urandom(300_000)
SAID = b'{"a": "' + KEY.encode() + b'", "b": "\\u0073' + KEY[1:].encode() + b'"}'
LEFT = b'{"a": "[redacted]", "b": "[redacted]"}'


def raw_deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(text) + compressor.flush()


def read(*pieces: bytes, at_hand: bool = False, size: int = 2**24, **headers: str) -> tuple[bytes, str | None]:
    """Return what leaves of an answer, and why it broke off. at_hand: all of it has arrived before it is read."""

    async def whole() -> tuple[bytes, str | None]:
        observation = Observation()
        answer = FedAnswer(*(pieces if at_hand else ()), headers=headers, ended=at_hand)
        reader = reader_of(answer, KEY, observation, size=size)
        if (rest := await reader.rest_at_hand()) is not None:
            return rest, observation.failure
        reading = asyncio.ensure_future(_rest(reader))
        for piece in () if at_hand else pieces:
            answer.content.feed(piece)
            await asyncio.sleep(0)
        answer.content.end()
        left = await reading
        assert answer.closed == reader.broken
        return left, observation.failure

    return asyncio.run(whole())


async def _rest(reader: AnswerReader) -> bytes:
    pieces = []
    while (piece := await reader.next()) is not None:
        assert piece, "an empty piece would end the body"
        pieces.append(piece)
    return b"".join(pieces)


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


ENCODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP ", gzip.compress),
    ("gzip", lambda text: b"".join(gzip.compress(piece) for piece in cut(text, 100))),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
]


@pytest.mark.parametrize("at_hand", [False, True])
@pytest.mark.parametrize("size", [1, 50, 10**9])
@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS)
def test_an_encoded_answer_is_inflated_and_scrubbed(encoding, compress, size, at_hand):
    pieces = cut(compress(SAID * 20), size)
    assert read(*pieces, at_hand=at_hand, content_encoding=encoding) == (LEFT * 20, None)


BROKEN = [
    pytest.param(gzip.compress(SAID)[:-5], "answer-cut-off", id="cut off"),
    pytest.param(gzip.compress(SAID) + b"no member", "answer-not-inflatable", id="more after it"),
    pytest.param(SAID, "answer-not-inflatable", id="not compressed"),
    pytest.param(gzip.compress(bytes(2**22)), "answer-too-large", id="above the ratio"),
    pytest.param(gzip.compress(b"") * 3000, "answer-too-large", id="members of nothing"),
]


@pytest.mark.parametrize("at_hand", [False, True])
@pytest.mark.parametrize(("body", "reason"), BROKEN)
def test_an_encoded_answer_that_cannot_be_inflated_breaks_off(body, reason, at_hand):
    left, failure = read(*cut(body, 5000), at_hand=at_hand, content_encoding="gzip")
    assert failure == reason
    assert KEY.encode() not in left
    assert len(left) <= max(2**20, RATIO_MAX * len(body))


def test_a_small_answer_may_be_compressed_as_far_as_it_goes():
    assert read(gzip.compress(bytes(2**20)), content_encoding="gzip") == (bytes(2**20), None)


@pytest.mark.parametrize("at_hand", [False, True])
def test_no_content_is_no_broken_encoding(at_hand):
    assert read(at_hand=at_hand, content_encoding="gzip") == (b"", None)


@pytest.mark.parametrize("at_hand", [False, True])
def test_an_answer_that_is_too_long_breaks_off(at_hand):
    left, failure = read(*cut(bytes(500_000), 10_000), at_hand=at_hand, size=400_000)
    assert failure == "answer-too-large"
    assert len(left) <= 400_000


@pytest.mark.parametrize("second", ["gzip", "br", "deflate"])
def test_an_encoding_behind_another_header_is_not_overlooked(second):
    async def readable() -> bool:
        answer = FedAnswer(headers={"content_encoding": "identity"})
        answer.head.headers.append((b"content-encoding", second.encode()))
        return is_readable(cast(Any, answer))

    assert not asyncio.run(readable())


def zlib_of(window: int, text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=window)
    return compressor.compress(text) + compressor.flush()


ZLIB = [partial(zlib_of, window) for window in range(9, 16)]


@pytest.mark.parametrize("at_hand", [False, True])
@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, *ZLIB])
@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_a_short_body_that_is_compressed_without_saying_so_is_scrubbed(compress, size, at_hand):
    inflate: Any = gzip.decompress if compress is gzip.compress else zlib.decompress
    left, failure = read(*cut(compress(SAID * 20), size), at_hand=at_hand)
    assert (inflate(left), failure) == (LEFT * 20, None)
    sound = compress(b'{"a": "no key"}' * 20)
    assert read(*cut(sound, size), at_hand=at_hand) == (sound, None)
    half = compress(NOISE[:90] + SAID) + b"not compressed"
    left, _ = read(*cut(half, size), at_hand=at_hand)
    assert KEY.encode() not in zlib.decompressobj(47).decompress(left)


@pytest.mark.parametrize("media_type", ["application/gzip", "text/event-stream"])
@pytest.mark.parametrize("size", [700, 9000, 10**9])
@pytest.mark.parametrize("level", [0, 9])
def test_a_long_body_that_is_compressed_without_saying_so_ends_before_the_key(media_type, size, level):
    body = gzip.compress(NOISE + SAID + NOISE, level)
    left, failure = read(*cut(body, size), content_type=media_type)
    assert failure == "answer-holds-key"
    inflated = zlib.decompressobj(31).decompress(left)
    assert KEY[:8].encode() not in inflated
    assert NOISE.startswith(inflated)
    sound = gzip.compress(NOISE + NOISE, level)
    assert read(*cut(sound, size), content_type=media_type) == (sound, None)


class _CountedRounds:
    """Counts the rounds of the event loop."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\\u0073" * 300_000, {}),
        (b"&#0000115;" * 200_000, {"content_type": "text/event-stream"}),
        (gzip.compress(NOISE * 6), {"content_encoding": "gzip"}),
        (gzip.compress(NOISE * 6), {}),
    ],
    ids=["escapes", "references", "gzip", "gzip without a header"],
)
def test_other_tasks_run_between_the_steps_of_a_long_answer(body, headers):
    async def look() -> None:
        rounds = _CountedRounds()
        other = asyncio.ensure_future(rounds.run())
        await _rest(reader_of(FedAnswer(*cut(body, 65_536), headers=headers, ended=True), KEY))
        assert rounds.count >= len(body) // (2 * STEP)
        other.cancel()

    asyncio.run(look())


def test_occurrences_that_overlap_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of one character, in a text of nothing else, begins at every place of it."""
    finds: list[bool] = []
    find = _Search._find

    def counted(self: _Search) -> Span | None:
        finds.append(True)
        return find(self)

    monkeypatch.setattr(_Search, "_find", counted)
    key, text = "a" * 200, b"a" * 200 * 100 + b"%2561" * 200
    assert list(KeyForms(key).spans(text)) == [*((at, at + 200) for at in range(0, 20000, 200)), (20000, 21000)]
    assert len(finds) < 500


def test_long_answers_take_turns():
    async def look() -> None:
        turns, rounds = Turns(), _CountedRounds()
        other = asyncio.ensure_future(rounds.run())
        body = cut(b"x" * 20 * STEP, STEP)
        readers = [reader_of(FedAnswer(*body, headers={}), KEY, turns=turns) for _ in range(50)]
        await asyncio.gather(*(reader.next() for reader in readers))
        begun = rounds.count
        for _ in range(5):
            await asyncio.gather(*(reader.next() for reader in readers))
        assert rounds.count - begun >= 5 * len(readers)
        other.cancel()

    asyncio.run(look())


def test_an_answer_that_is_given_up_is_gone_at_once():
    gave_up: list[bool] = []

    async def read_on(reader: AnswerReader) -> None:
        try:
            await _rest(reader)
        except asyncio.CancelledError:
            gave_up.append(True)

    async def look() -> None:
        reader = reader_of(FedAnswer(b"the beginning", headers={}), KEY)
        known = weakref.ref(reader)
        waiting = asyncio.ensure_future(read_on(reader))
        del reader
        for _ in range(3):
            await asyncio.sleep(0)
        waiting.cancel()
        await waiting
        del waiting
        assert known() is None

    gc.disable()
    try:
        asyncio.run(look())
    finally:
        gc.enable()
    assert gave_up


def test_nothing_is_read_ahead_of_a_caller_who_does_not_read():
    async def look() -> None:
        answer = FedAnswer(*[bytes(STEP)] * 20, headers={})
        reader = reader_of(answer, KEY)
        assert await reader.next() == bytes(2 * STEP - HOLD)
        assert len(answer.content.take(100 * STEP)) == 18 * STEP

    asyncio.run(look())
