"""An answer that cannot be one is an error: whatever its types, its order, its counts or its size."""

from typing import Any

import pytest

from api.front.json_response import encode
from domain.errors import ProviderUnavailableError
from tests.keyledger.llm.answered import (
    DONE,
    Streamed,
    chat,
    chunk,
    completed,
    events,
    message,
    message_events,
    named_events,
    streamed,
)
from tests.keyledger.llm.rig import WEATHER, text_of

CLAUDE = pytest.mark.parametrize("model", ["anthropic-litellm", "anthropic-legacy"])
OPENAI = pytest.mark.parametrize("model", ["openai-litellm", "vllm-legacy"])
GOOD = events(chunk({"content": "Hel"}), chunk({}, "stop"))
START = {"type": "message_start", "message": message([], None)}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
TOOL: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}


def start_of(block: object, index: object = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta_of(delta: object, index: object = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop_of(index: object = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def arguments(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


def assert_failed(left: Streamed) -> None:
    assert isinstance(left.error, ProviderUnavailableError)
    assert left.failed


@OPENAI
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(events({"message": "SECRET", "code": 500}) + GOOD + DONE, id="a text without choices"),
        pytest.param(events({"status": "error", "errors": ["SECRET"]}) + GOOD + DONE, id="errors without choices"),
        pytest.param(GOOD + events({**chunk(), "choices": [{"index": 0, "error": {"message": "SECRET"}}]}) + DONE),
        pytest.param(GOOD + b"event: error\n\n", id="an error without data"),
        pytest.param(GOOD + b"event: error\ndata: [DONE]\n\n", id="an error that says it is done"),
        pytest.param(events(chunk({"content": "x"}, False)) + DONE, id="a reason that is not a text"),
        pytest.param(events(chunk({"content": "x"}, "stop", index=-5)) + DONE, id="a negative choice"),
        pytest.param(events(chunk({"content": "x"}, "stop", index=10**300)) + DONE, id="an enormous choice"),
    ],
)
def test_an_event_that_is_no_chunk_is_an_error_and_its_text_does_not_leave(model: str, stream: bytes) -> None:
    left = streamed(model, stream)
    assert_failed(left)
    assert "SECRET" not in repr(left)


@OPENAI
def test_fewer_choices_than_asked_for_are_whole_only_if_the_provider_says_that_it_is_done(model: str) -> None:
    assert_failed(streamed(model, GOOD, n=2))
    assert streamed(model, GOOD + DONE, n=2).error is None


@OPENAI
@pytest.mark.parametrize("done", [b"data: [DONE] \n\n", b"data:  [DONE]\n\n", b"data:[DONE]\n\n"])
def test_the_mark_of_the_end_may_have_blanks(model: str, done: bytes) -> None:
    assert streamed(model, GOOD + done).error is None


@OPENAI
def test_an_error_in_a_choice_of_a_whole_answer_is_an_error(model: str) -> None:
    with pytest.raises(ProviderUnavailableError):
        completed(model, chat(choice={"error": {"message": "SECRET"}}), {})


@OPENAI
def test_parts_that_are_no_text_arrive_next_to_it(model: str) -> None:
    parts = [{"type": "text", "text": "see "}, {"type": "reference", "reference_ids": [1]}]
    said = completed(model, chat({"content": parts}), {})["choices"][0]["message"]
    assert (said["content"], said["content_parts"]) == ("see ", parts)
    thought = [{"type": "thinking", "thinking": "because"}, {"type": "text", "text": "42"}]
    said = completed(model, chat({"content": thought}), {})["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("42", "because")


@OPENAI
def test_what_comes_with_the_counts_arrives_without_them(model: str) -> None:
    counts = {**chunk(), "choices": [], "usage": {"prompt_tokens": 1}, "citations": ["u"]}
    last = streamed(model, GOOD + events(counts) + DONE).chunks[-1]
    assert (last["citations"], "usage" in last) == (["u"], False)


@CLAUDE
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(named_events(start_of(TOOL), stop_of(), END), id="no beginning"),
        pytest.param(named_events(START, delta_of({"type": "text_delta", "text": "x"}), END), id="no block"),
        pytest.param(named_events(START, start_of(TOOL), start_of(TOOL), END), id="a block twice"),
        pytest.param(named_events(START, start_of(TOOL), delta_of(arguments('{"a"')), END), id="a block that is open"),
        pytest.param(named_events(START, start_of(TOOL, "0"), stop_of("0"), END), id="a place that is a text"),
        pytest.param(named_events(START, *(start_of(TOOL, n) for n in range(65)), END), id="blocks without end"),
        pytest.param(
            named_events(START, start_of({**TOOL, "id": ["x"] * 100}), stop_of(), END), id="an id that is a list"
        ),
        pytest.param(
            named_events(
                START, start_of({"type": "text", "text": ""}), delta_of({"type": "text_delta", "text": ["x"]})
            ),
            id="a text that is a list",
        ),
    ],
)
def test_events_of_anthropic_out_of_place_are_an_error(model: str, stream: bytes) -> None:
    assert_failed(streamed(model, stream, tools=WEATHER))


@CLAUDE
def test_each_block_of_anthropic_gets_its_own_pieces(model: str) -> None:
    stream = named_events(
        START,
        start_of(TOOL, 0),
        start_of({**TOOL, "id": "t2", "input": {"city": "Lund"}}, 1),
        delta_of(arguments('{"a":'), 0),
        stop_of(1),
        delta_of(arguments("0}"), 0),
        stop_of(0),
        {**END, "delta": {"stop_reason": "tool_use"}},
    )
    left = streamed(model, stream, tools=WEATHER)
    assert left.error is None
    calls: dict[int, str] = {}
    for one in left.chunks:
        for call in one["choices"][0]["delta"].get("tool_calls", []):
            calls[call["index"]] = calls.get(call["index"], "") + call["function"]["arguments"]
    assert calls == {0: '{"a":0}', 1: '{"city": "Lund"}'}


@CLAUDE
def test_a_count_without_measure_is_none(model: str) -> None:
    counted = {"input_tokens": int("9" * 4000), "output_tokens": 1}
    answer = completed(model, message([{"type": "text", "text": "x"}], usage=counted), {})
    assert "usage" not in answer
    encode(answer)
    only_read = completed(model, message([{"type": "text", "text": "x"}], usage={"input_tokens": 3}), {})
    assert "usage" not in only_read, "the other count would be made up"


@CLAUDE
def test_what_anthropic_counts_besides_tokens_arrives(model: str) -> None:
    searched = {"web_search_requests": 2}
    usage = {"input_tokens": 1, "output_tokens": 2, "server_tool_use": searched}
    assert (
        completed(model, message([{"type": "text", "text": "x"}], usage=usage), {})["usage"]["server_tool_use"]
        == searched
    )


def test_a_block_of_anthropic_may_begin_with_its_text() -> None:
    left = streamed("anthropic-litellm", message_events([({"type": "text", "text": "Hel"}, [])]))
    assert text_of(left.chunks) == "Hel"
