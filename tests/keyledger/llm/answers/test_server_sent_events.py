"""Server-sent events are read whatever the network makes of them."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.answers.server_sent_events import server_sent_events

STREAM = b': comment\n\nevent: x\ndata: {"a": 1}\n\ndata:{"b":\ndata: 2}\n\nid: 5\n\ndata: [DONE]\n\n'
EVENTS = [(b"x", b'{"a": 1}'), (b"", b'{"b":\n2}'), (b"", b"[DONE]")]


def read(*pieces: bytes, most: int = 1000) -> list[tuple[bytes, bytes]]:
    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def run() -> list[tuple[bytes, bytes]]:
        return [(event.name, event.data) async for event in server_sent_events(source(), most)]

    return asyncio.run(run())


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@given(cuts=st.lists(st.integers(0, len(STREAM) + 20), max_size=12))
def test_line_ends_and_the_borders_of_pieces_do_not_matter(line_end: bytes, mark: bytes, cuts: list[int]) -> None:
    stream = mark + STREAM.replace(b"\n", line_end)
    borders = [0, *sorted(cuts), len(stream)]
    assert read(*(stream[a:b] for a, b in pairwise(borders) if a < b)) == EVENTS


def test_a_stream_byte_by_byte_is_the_same() -> None:
    stream = STREAM.replace(b"\n", b"\r\n")
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == EVENTS


def test_an_event_may_lack_its_blank_line_at_the_end() -> None:
    assert read(b'data: {"a": 1}') == [(b"", b'{"a": 1}')]


def test_line_separators_inside_a_text_do_not_end_a_line() -> None:
    text = '{"a": "x\u2028y\u0085z"}'.encode()
    assert read(b"data: " + text + b"\n\n") == [(b"", text)]


def test_a_byte_order_mark_later_on_is_a_part_of_the_text() -> None:
    assert read(b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n") == [(b"", b"1")]


@pytest.mark.parametrize("size", [1, 64, 10_000])
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: " + b"x" * 200, id="a line without an end"),
        pytest.param(b"data: x\n" * 40, id="an event of many lines"),
        pytest.param(b": x\n" * 80, id="comments without an end"),
    ],
)
def test_an_event_without_measure_is_refused(stream: bytes, size: int) -> None:
    with pytest.raises(InvalidAnswerError, match="answer-too-large"):
        read(*(stream[at : at + size] for at in range(0, len(stream), size)), most=100)
