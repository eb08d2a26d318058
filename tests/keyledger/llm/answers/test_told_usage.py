"""Token counts are found in the bytes of an answer, however it is cut, and however long it is."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.calls.tokens import Tokens, ToldUsage
from keyledger.llm.answers import told_usage, usage_scan
from keyledger.llm.answers.told_usage import HELD_MAX, usage_of
from tests.support.each import each

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
FOUND = Tokens(9, 4, 5)
LONG = "x" * (HELD_MAX + 1)
TRAP = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "model": "trap"}
"""What a model can be made to write."""


def read(text: bytes, size: int = 4096, content_type: str = "application/json") -> ToldUsage:
    told = ToldUsage()
    reader = usage_of(content_type, told)
    assert reader is not None
    for at in range(0, len(text), size):
        reader.feed(text[at : at + size])
    reader.finish()
    return told


def event(content: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(content).encode() + b"\n\n"


DOCUMENTS = {
    "a short answer": {"model": "m", "choices": [], "usage": USAGE},
    "a long answer": {"model": "m", "text": LONG, "usage": USAGE},
    "counts before a long text": {"model": "m", "usage": USAGE, "text": LONG},
    "a text that looks like counts": {"model": "m", "text": LONG + json.dumps(TRAP), "usage": USAGE},
    "an object that looks like counts": {"model": "m", "output": [{"input": TRAP}, LONG], "usage": USAGE},
    "an object after the counts": {"model": "m", "usage": USAGE, "output": [{"input": TRAP}, TRAP], "text": LONG},
    "escapes": {"model": "m", "text": '\\" \\\\"' + LONG + '\\"', "usage": USAGE},
    "numbers": {"model": "m", "data": [0.5] * HELD_MAX, "usage": USAGE},
}


@each("name", DOCUMENTS)
def test_counts_are_found_in_a_document_however_it_is_cut(name: str) -> None:
    text = json.dumps(DOCUMENTS[name]).encode()
    for size in (997, 16384, len(text)):
        told = read(text, size)
        assert (told.tokens(), told.model) == (FOUND, "m")


EVENTS = {
    "a chat": event({"choices": [{"delta": {"content": json.dumps(TRAP)}, "finish_reason": None}]})
    + event({"choices": [], "usage": USAGE, "model": "m"})
    + b"data: [DONE]\n\n",
    "a long response": event({"type": "response.output_text.delta", "delta": "a"}, "response.output_text.delta")
    + event(
        {"type": "response.completed", "response": {"model": "m", "output": [TRAP, LONG], "usage": USAGE}},
        "response.completed",
    ),
    "lines that end in another way": event({"usage": USAGE, "model": "m"}).replace(b"\n", b"\r\n"),
    "no blank line at the end": event({"usage": USAGE, "model": "m"}).rstrip(),
    "comments": b": hi\n\n:\n\ndata\n\nd\n" + event({"usage": USAGE, "model": "m"}),
}


@each("name", EVENTS)
def test_counts_are_found_in_a_stream_however_it_is_cut(name: str) -> None:
    for size in (1, 7, 100_000) if len(EVENTS[name]) < 1000 else (997, 100_000):
        told = read(EVENTS[name], size, "text/event-stream")
        assert (told.tokens(), told.model) == (FOUND, "m")


def test_a_document_that_is_not_json_says_nothing() -> None:
    for text in (
        b"",
        b"[1",
        b'"usage"',
        b'{"usage": {"prompt_tokens": NaN}}',
        b'{"usage"' + b"{" * 100_000,
        b"\xff" * 9,
    ):
        assert read(text).tokens() is None


def test_other_media_types_are_not_looked_at() -> None:
    assert usage_of("audio/mpeg", ToldUsage()) is None


def test_little_is_held_and_a_document_of_brackets_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(usage_scan, "MARKS_MAX", 1000)
    text = b'{"text": [' + b"[],".rstrip(b",") * HELD_MAX + b"], " + json.dumps({"usage": USAGE}).encode()[1:]
    assert read(text).tokens() is None
    reader = told_usage.UsageOfDocument(ToldUsage())
    for _ in range(100):
        reader.feed(b'{"usage": {"a": "' + b"x" * HELD_MAX)
    assert len(reader._held) <= HELD_MAX
    assert reader._scan is not None
    assert len(reader._scan._value or b"") <= usage_scan.VALUE_MAX + 2 * HELD_MAX


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["usage", "model", "response", "message", 'a"b', "x"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["usage", "model", "response", "x"]), _JSON), st.integers(1, 9))
def test_a_long_document_says_what_a_short_one_would(document: dict[str, Any], size: int) -> None:
    document = {name: value for name, value in document.items() if name != "response" or isinstance(value, dict)}
    text, whole, scan = json.dumps(document).encode(), ToldUsage(), usage_scan.UsageScan()
    for at in range(0, len(text), size):
        scan.feed(text[at : at + size])
    found = scan.found()
    whole.note(document)
    held = document.get("response")
    nested = held if isinstance(held, dict) and isinstance(held.get("usage"), dict) else {}
    if isinstance(document.get("usage"), dict) and not nested:
        assert found["usage"] == document["usage"]
    scanned = ToldUsage()
    scanned.note(found)
    if not (isinstance(document.get("usage"), dict) and nested):
        assert scanned.tokens() == whole.tokens()
