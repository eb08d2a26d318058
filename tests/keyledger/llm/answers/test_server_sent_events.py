"""Server-sent events are read whatever the network makes of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.answers.server_sent_events import event_texts, json_events


def read(*pieces: bytes) -> list:
    async def run() -> list:
        async def source() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        return [event async for event in json_events(source())]

    return asyncio.run(run())


STREAM = b': comment\n\nevent: x\ndata: {"a": 1}\n\ndata:{"b":\ndata: 2}\r\n\r\ndata: [DONE]\n\ndata: {"c": 3}\n\n'


def test_events_are_read_up_to_the_end_mark():
    assert read(STREAM) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_size_of_the_pieces_does_not_matter(size):
    assert read(*(STREAM[at : at + size] for at in range(0, len(STREAM), size))) == [{"a": 1}, {"b": 2}]


def test_an_event_may_lack_its_blank_line_at_the_end():
    assert read(b'data: {"a": 1}') == [{"a": 1}]


def test_line_separators_inside_a_text_do_not_end_a_line():
    assert read('data: {"a": "x\u2028y\u0085z"}\n\n'.encode()) == [{"a": "x\u2028y\u0085z"}]


@pytest.mark.parametrize(
    "event",
    [
        b"data: {\n\n",
        b"data: 5\n\n",
        b"data: \xff\n\n",
        b'data: {"error": {"message": "x"}}\n\n',
        b'data: {"type": "error"}\n\n',
    ],
    ids=["broken JSON", "a number", "no text", "an error of OpenAI", "an error of Anthropic"],
)
def test_what_is_no_event_of_an_answer_is_refused(event):
    with pytest.raises(ValueError, match="an event"):
        read(event)


@pytest.mark.parametrize("size", [1, 64, 10_000])
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: " + b"x" * 200, id="a line without an end"),
        pytest.param(b"data: x\n" * 40, id="an event of many lines"),
        pytest.param(b": x\n" * 80, id="comments without an end"),
    ],
)
def test_an_event_without_measure_is_refused(stream, size):
    async def source() -> AsyncIterator[bytes]:
        for at in range(0, len(stream), size):
            yield stream[at : at + size]

    async def run() -> list:
        return [text async for text in event_texts(source(), 100)]

    with pytest.raises(InvalidAnswerError, match="answer-too-large"):
        asyncio.run(run())
