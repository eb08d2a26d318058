"""The events of relayed streams: passed on byte for byte however they are cut, and whole only with their proper end."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.answers.bounds import EVENT_MAX
from keyledger.llm.answers.event_ends import EventEnds


def event(line_end: str = "\n", name: str = "", **content: object) -> bytes:
    named = f"event: {name}{line_end}" if name else ""
    return f"{named}data: {json.dumps(content)}{line_end}{line_end}".encode()


def text(finish: str | None, index: int = 0) -> bytes:
    return event(choices=[{"index": index, "text": "a", "finish_reason": finish}])


DONE = b"data: [DONE]\n\n"
WHOLE: dict[str, list[bytes]] = {
    "completions": [
        text(None) + text("stop") + DONE,
        text("stop") + text("length", 1) + event(choices=[], usage={"total_tokens": 3}) + DONE,
        b": comment\n\n" + text("stop") + b"data: [DONE]",
    ],
    "images/generations": [
        event(type="image_generation.partial_image") + event(type="image_generation.completed"),
        event("\r\n", "image_generation.completed", b64_json="x"),
    ],
    "images/edits": [event("\r", type="image_edit.completed")],
    "audio/speech": [event(type="speech.audio.delta", audio="x") + event(type="speech.audio.done")],
    "audio/transcriptions": [event(type="transcript.text.done", text="x"), event(choices=[]) + DONE],
}
CUT: dict[str, list[bytes]] = {
    "completions": [
        b"",
        text("stop"),
        text(None) + DONE,
        text("stop") + text(None, 1) + DONE,
        DONE,
        event(error={"message": "x"}) + DONE,
        text(None) + event(choices=[{"text": "[DONE]"}]),
    ],
    "images/generations": [
        event(type="image_generation.partial_image"),
        event(type="x", prompt={"type": "image_generation.completed"}),
        event(type="error"),
    ],
    "audio/transcriptions": [event(type="transcript.text.delta", delta='"type":"transcript.text.done"')],
}


def read(route: str, pieces: list[bytes]) -> tuple[bytes, bool]:
    """Return what is passed on, and whether the stream was whole."""
    ends = EventEnds(route)
    passed = b"".join(ends.feed(piece) for piece in pieces)
    try:
        return passed + ends.finish(), True
    except InvalidAnswerError:
        return passed, False


def cuts(stream: bytes) -> list[list[bytes]]:
    return [[stream], [bytes([one]) for one in stream], *([stream[:at], stream[at:]] for at in range(len(stream)))]


def test_a_stream_with_its_proper_end_is_passed_on_byte_for_byte_however_it_arrives():
    for route, streams in WHOLE.items():
        for stream in streams:
            assert all(read(route, pieces) == (stream, True) for pieces in cuts(stream)), (route, stream)


def test_a_stream_without_it_is_not_whole_and_is_never_marked_as_done():
    for route, streams in CUT.items():
        for stream in streams:
            for pieces in cuts(stream):
                passed, whole = read(route, pieces)
                assert not whole, (route, stream)
                assert stream.startswith(passed)
                assert DONE not in passed


@pytest.mark.parametrize("route", ["completions", "images/generations"])
def test_a_stream_that_is_cut_anywhere_is_not_whole_and_ends_with_a_whole_event(route):
    stream = WHOLE[route][0].rstrip(b"\n")
    events = [one + b"\n\n" for one in stream.split(b"\n\n")]
    for at in range(len(stream)):
        passed, whole = read(route, [stream[:at]])
        assert not whole
        assert passed in [b"".join(events[:count]) for count in range(len(events))]


def test_an_event_of_any_length_is_passed_on_and_little_of_it_is_held():
    ends, passed = EventEnds("images/generations"), b""
    long = event(type="image_generation.partial_image", b64_json="A" * 3 * EVENT_MAX)
    for at in range(0, len(long), 100_000):
        passed += ends.feed(long[at : at + 100_000])
        assert at + 100_000 - len(passed) <= EVENT_MAX + 100_000
    passed += ends.feed(event(type="image_generation.completed"))
    assert passed + ends.finish() == long + event(type="image_generation.completed")


@pytest.mark.parametrize("head", [b"event: image_generation.completed\n", b"", b"event: message\n"])
def test_a_long_event_may_be_the_one_that_ends_a_stream(head):
    """An image of usual size is longer in base64 than what is held of an event."""
    ends, passed = EventEnds("images/generations"), b""
    whole = head + event(type="image_generation.completed", b64_json="A" * 2 * EVENT_MAX)
    for at in range(0, len(whole), 100_000):
        passed += ends.feed(whole[at : at + 100_000])
    assert passed + ends.finish() == whole
    cut = EventEnds("images/generations")
    cut.feed(whole[:-100])
    with pytest.raises(InvalidAnswerError):
        cut.finish()


def test_an_event_named_message_has_no_name():
    ends = EventEnds("responses")
    whole = b"event: message\n" + event(type="response.completed")
    assert ends.feed(whole) + ends.finish() == whole


def test_an_event_that_takes_long_to_read_is_known_by_its_name_alone():
    hard = event(type="speech.audio.done", more=[[]] * 5_000)
    named = b"event: speech.audio.done\n" + hard
    assert read("audio/speech", [hard]) == (hard, False)
    assert read("audio/speech", [named]) == (named, True)


def test_a_stream_of_ever_more_choices_is_not_whole():
    many = [text("stop", index) for index in range(10_001)]
    assert read("completions", [*many[:-1], DONE])[1]
    assert not read("completions", [*many, DONE])[1]


@given(st.lists(st.sampled_from([b"\r", b"\n", b"data: x", b"event: y", b":"]), max_size=12), st.integers(0, 40))
def test_no_byte_is_lost_or_added(parts, at):
    stream = b"".join(parts) + b"\n\n" + event(type="speech.audio.done")
    assert read("audio/speech", [stream[:at], stream[at:]])[0] == stream
