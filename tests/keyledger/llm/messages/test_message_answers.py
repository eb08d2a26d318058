"""Chat completions as messages of Anthropic's API, whole and in events."""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyledger.llm.messages.message_answer import message_of
from keyledger.llm.messages.message_events import MessageEvents

HEAD = {"id": "chatcmpl-1", "model": "our-model"}
CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Malmö"}'}}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Malmö"}}


def answer(message: dict[str, Any], reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}


ANSWERS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "text": (answer({"content": "Hi"}), [{"type": "text", "text": "Hi"}], "end_turn"),
    "half a text": (answer({"content": "H"}, "length"), [{"type": "text", "text": "H"}], "max_tokens"),
    "a filtered text": (answer({"content": None}, "content_filter"), [], "refusal"),
    "a refusal": (answer({"refusal": "No."}), [{"type": "text", "text": "No."}], "refusal"),
    "tool calls": (answer({"content": None, "tool_calls": [CALL]}, "tool_calls"), [USE], "tool_use"),
    "a call without arguments": (
        answer({"tool_calls": [{"id": "t", "function": {"name": "now", "arguments": ""}}]}, "tool_calls"),
        [{"type": "tool_use", "id": "t", "name": "now", "input": {}}],
        "tool_use",
    ),
    "thought": (
        answer({"content": "Hi", "reasoning_content": "Hm"}),
        [{"type": "thinking", "thinking": "Hm", "signature": ""}, {"type": "text", "text": "Hi"}],
        "end_turn",
    ),
    "annotations": (
        answer({"content": "Hi", "annotations": [{"type": "url_citation"}]}),
        [{"type": "text", "text": "Hi", "annotations": [{"type": "url_citation"}]}],
        "end_turn",
    ),
    "a refusal after a text": (
        answer({"content": "I. ", "refusal": "No."}),
        [{"type": "text", "text": "I. No."}],
        "refusal",
    ),
    "a call that was demanded": (answer({"content": None, "tool_calls": [CALL]}, "stop"), [USE], "tool_use"),
    "a large number": (
        answer({"tool_calls": [{"id": "t", "function": {"name": "a", "arguments": '{"n":9007199254740993}'}}]}),
        [{"type": "tool_use", "id": "t", "name": "a", "input": {"n": 9007199254740993}}],
        "tool_use",
    ),
    "parts of another kind": (
        answer({"content": "Hi", "content_parts": [{"type": "reference"}]}),
        [{"type": "text", "text": "Hi", "content_parts": [{"type": "reference"}]}],
        "end_turn",
    ),
    "an unknown reason": (answer({"content": "Hi"}, "tired"), [{"type": "text", "text": "Hi"}], "tired"),
}


def test_answers_are_messages():
    for name, (given_, content, reason) in ANSWERS.items():
        found = message_of(given_)
        assert (found["content"], found["stop_reason"]) == (content, reason), name
        assert (found["id"], found["model"], found["type"], found["role"]) == (
            "chatcmpl-1",
            "our-model",
            "message",
            "assistant",
        )


USAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "none": (None, {"input_tokens": None, "output_tokens": None}),
    "plain": ({"prompt_tokens": 9, "completion_tokens": 3}, {"input_tokens": 9, "output_tokens": 3}),
    "cached": (
        {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
        {"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 4},
    ),
}


def test_counts_are_those_that_were_sent():
    for name, (usage, counts) in USAGES.items():
        assert message_of(answer({"content": "Hi"}, usage=usage))["usage"] == counts, name


@pytest.mark.parametrize(
    "malformed",
    [
        {},
        {**HEAD, "choices": []},
        {**HEAD, "choices": [{}, {}]},
        answer({"tool_calls": [{"id": "t", "function": {"name": "a", "arguments": "{"}}]}),
        answer({"tool_calls": [{"id": "t", "function": {"name": "a", "arguments": "[]"}}]}),
        answer({"content": 1}),
        *(
            answer({"tool_calls": [{"id": "t", "function": {"name": "a", "arguments": arguments}}]})
            for arguments in (
                '{"a":NaN}',
                '{"a":1e999}',
                '{"a":' * 100_000,
                '{"a":[' + "[]," * 50_000 + "1]}",
                {"a": 1},
            )
        ),
        answer({"content": None, "audio": {"data": "UklGRg=="}}),
        answer({"content": "Look", "images": [{"type": "image_url"}]}),
        answer({"content": None, "function_call": {"name": "a", "arguments": "{}"}}),
        answer({"content": "", "annotations": [{"type": "url_citation"}]}),
    ],
)
def test_what_cannot_be_a_message_is_an_error(malformed):
    with pytest.raises((KeyError, TypeError, ValueError)):
        message_of(malformed)


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}], **more}


def part(index: int, arguments: str, **first: str) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": first["name"]} if first else {})}
    return {"tool_calls": [{"index": index, "function": function, **({"id": first["id"]} if first else {})}]}


def streamed(*chunks: Mapping[str, Any]) -> list[dict[str, Any]]:
    events = MessageEvents()
    found = [event for one in chunks for event in events.feed(one)]
    return [*found, *events.finish()]


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the events together as clients do."""
    message = dict(events[0]["message"])
    blocks: list[dict[str, Any]] = []
    texts: list[str] = []
    for event in events[1:]:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
            texts.append("")
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(blocks) - 1
            _, *said = event["delta"].values()
            texts[-1] += said[0]
        elif event["type"] == "content_block_stop":
            assert event["index"] == len(blocks) - 1
        elif event["type"] == "message_delta":
            message |= event["delta"] | {"usage": event["usage"]}
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    for block, text in zip(blocks, texts, strict=True):
        if block["type"] == "tool_use":
            block["input"] = json.loads(text or "{}")
        else:
            block[block["type"]] = text
    return message | {"content": blocks}


def test_a_stream_is_put_together_to_the_same_message():
    events = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "H"}),
        chunk({"reasoning_content": "m"}),
        chunk({"content": "I "}),
        chunk({"content": "ask."}),
        chunk(part(0, "", id="t1", name="weather")),
        chunk(part(0, '{"city": ')),
        chunk(part(0, '"Malmö"}')),
        chunk(part(1, "{}", id="t2", name="now")),
        chunk({}, "tool_calls"),
        {**HEAD, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
    )
    second = {"id": "t2", "function": {"name": "now", "arguments": "{}"}}
    whole = answer({"content": "I ask.", "reasoning_content": "Hm", "tool_calls": [CALL, second]}, "tool_calls")
    assert assembled(events) == message_of({**whole, "usage": {"prompt_tokens": 9, "completion_tokens": 3}})


def test_calls_that_share_an_index_are_told_apart_by_their_ids():
    """Gemini gives every call of an answer the index 0; other servers repeat a call's id and name in each part."""
    events = streamed(
        chunk(part(0, '{"city"', id="a", name="weather")),
        chunk(part(0, ': "Lund"}', id="a", name="weather")),
        chunk(part(0, '{"city": "Malmö"}', id="b", name="weather")),
        chunk({}, "stop"),
    )
    message = assembled(events)
    assert [(block["id"], block["input"]) for block in message["content"]] == [
        ("a", {"city": "Lund"}),
        ("b", {"city": "Malmö"}),
    ]
    assert message["stop_reason"] == "tool_use"


def test_what_a_streamed_text_comes_with_arrives():
    events = streamed(chunk({"content": "Hi"}), chunk({"annotations": [{"type": "url_citation"}]}), chunk({}, "stop"))
    assert {"type": "text_delta", "text": "", "annotations": [{"type": "url_citation"}]} in [
        event.get("delta") for event in events
    ]


def test_a_message_has_the_id_of_its_answer_not_of_what_precedes_it():
    before = {**HEAD, "id": "", "choices": [], "prompt_filter_results": []}
    assert assembled(streamed(before, chunk({"content": "Hi"}), chunk({}, "stop")))["id"] == "chatcmpl-1"


def _named_again(arguments: str, name: str) -> dict[str, Any]:
    return chunk(part(0, arguments, id="a", name=name))


SAID = st.lists(
    st.tuples(st.sampled_from(["content", "reasoning_content", "refusal"]), st.text(min_size=1, max_size=4)), max_size=9
)


@given(SAID, st.sampled_from(["stop", "length", "content_filter", "tired"]))
def test_any_stream_of_texts_says_them_all_in_order(said, reason):
    message = assembled(streamed(*(chunk({name: text}) for name, text in said), chunk({}, reason)))
    texts = "".join(str(block[block["type"]]) for block in message["content"])
    assert texts == "".join(text for _, text in said)
    blocks = [block["type"] for block in message["content"]]
    assert all(one != other for one, other in pairwise(blocks))


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [{**HEAD, "choices": [{"index": 1, "delta": {}}]}],
        [chunk(part(0, "{}"))],
        [chunk(part(0, "", id="a", name="b")), chunk(part(1, "", id="c", name="d")), chunk(part(0, "{}"))],
        [_named_again("", "b"), chunk(part(1, "", id="c", name="d")), _named_again("{}", "b")],
        [_named_again("", "get_"), _named_again("", "weather")],
        [chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "b", "arguments": {"c": 1}}}]})],
        [chunk({"audio": {"data": "UklGRg=="}})],
        [chunk({"content": 1})],
        [{"choices": []}],
    ],
    ids=[
        *("none", "a second choice", "a call without a name", "a call that had ended", "the same with its name"),
        *("a name in parts", "arguments that are an object", "sound", "a number", "no id"),
    ],
)
def test_chunks_that_cannot_be_a_message_are_an_error(chunks):
    with pytest.raises((KeyError, TypeError, ValueError)):
        streamed(*chunks)
