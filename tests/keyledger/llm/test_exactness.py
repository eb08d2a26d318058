"""An answer arrives as its provider gave it, all of it and nothing else; otherwise the call ends with an error."""

import asyncio
import re
from typing import Any

import pytest

from domain.errors import InvalidRequestError, ProviderUnavailableError
from keyledger.llm import Gateway
from scripts.demo.stand_in_provider import StandInProvider
from tests.keyledger.llm.answered import (
    DONE,
    chat,
    chunk,
    completed,
    events,
    message,
    message_events,
    named_events,
    streamed,
)
from tests.keyledger.llm.rig import HELLO, KEY, WEATHER, Keys, chunks, stand_in, text_of, whole, with_gateway
from tests.support.loopback import serving

OPENAI_SHAPED = ["openai-litellm", "azure-litellm", "mistral-legacy", "vllm-litellm", "berget-legacy"]
CLAUDES = ["anthropic-litellm", "anthropic-legacy"]
EACH_OPENAI = pytest.mark.parametrize("model", OPENAI_SHAPED)
EACH_CLAUDE = pytest.mark.parametrize("model", CLAUDES)
TEXT = {"type": "text", "text": ""}
HEL = {"type": "text_delta", "text": "Hel"}


# How a stream ends


@EACH_OPENAI
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(events(chunk({"content": "Hel"})), id="an orderly end of the connection"),
        pytest.param(events(chunk({"content": "Hel"})) + DONE, id="[DONE] without a reason"),
        pytest.param(
            events(chunk({"content": "Hel"}), chunk({}, "stop"), chunk({"content": "lo"}, index=1)) + DONE,
            id="one of two choices without a reason",
        ),
        pytest.param(events(chunk({"content": "Hel"}), chunk({}, "")) + DONE, id="an empty reason"),
    ],
)
def test_a_stream_without_a_reason_for_its_end_was_cut_off(model: str, stream: bytes) -> None:
    left = streamed(model, stream, n=2)
    assert isinstance(left.error, ProviderUnavailableError)
    assert left.error.reason == "answer-cut-off"
    assert left.failed
    assert left.chunks[0]["choices"][0]["delta"]["content"] == "Hel"
    assert [
        c["finish_reason"] for one in left.chunks for c in one["choices"] if c["index"] == 1 and c["finish_reason"]
    ] == []


@EACH_CLAUDE
def test_a_stream_of_anthropic_without_a_stop_reason_was_cut_off(model: str) -> None:
    start = {"type": "message_start", "message": message([], None)}
    block = {"type": "content_block_start", "index": 0, "content_block": TEXT}
    left = streamed(model, named_events(start, block, {"type": "content_block_delta", "index": 0, "delta": HEL}))
    assert isinstance(left.error, ProviderUnavailableError)
    assert left.error.reason == "answer-cut-off"
    assert text_of(left.chunks) == "Hel"


@pytest.mark.parametrize("model", [*OPENAI_SHAPED, *CLAUDES])
@pytest.mark.parametrize("stream", [b"", DONE, b": ping\n\n"], ids=["nothing", "[DONE] alone", "a comment"])
def test_a_stream_without_an_answer_was_cut_off(model: str, stream: bytes) -> None:
    assert streamed(model, stream).failed


@EACH_OPENAI
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(events({"error": {"message": "x"}}), id="a member error"),
        pytest.param(events({"object": "error", "message": "x"}), id="an object error"),
        pytest.param(named_events({"type": "error", "error": {"message": "x"}}), id="a type error"),
        pytest.param(b'event: error\ndata: {"message": "x"}\n\n', id="an event called error"),
        pytest.param(events(chunk({}, "error")), id="a reason error"),
        pytest.param(events(chunk({}, "TIMEOUT")), id="a reason of Cohere"),
        pytest.param(events({**chunk({}), "x_groq": {"error": "over capacity"}}), id="a member of Groq"),
    ],
)
def test_an_error_in_a_stream_is_an_error_in_whatever_form(model: str, error: bytes) -> None:
    left = streamed(model, events(chunk({"content": "Hel"})) + error + events(chunk({}, "stop")) + DONE)
    assert isinstance(left.error, ProviderUnavailableError)
    assert left.failed
    assert text_of(left.chunks) == "Hel"


@EACH_OPENAI
@pytest.mark.parametrize("name", ["ping", "heartbeat", "keep-alive"])
def test_a_heartbeat_is_passed_over_whatever_its_data(model: str, name: str) -> None:
    beat = f"event: {name}\ndata: {{}}\n\n".encode()
    left = streamed(model, beat + events(chunk({"content": "Hel"})) + beat + events(chunk({}, "stop")) + DONE)
    assert (left.error, left.failed, text_of(left.chunks)) == (None, False, "Hel")


@EACH_OPENAI
def test_a_stream_may_end_without_a_mark(model: str) -> None:
    left = streamed(model, events(chunk({"content": "Hel"}), chunk({}, "stop")))
    assert (left.error, left.failed, text_of(left.chunks)) == (None, False, "Hel")


@EACH_OPENAI
def test_each_choice_has_its_own_end(model: str) -> None:
    said = [("0", None, 0), ("1", None, 1), ("", "stop", 0), ("-more", None, 1), ("", "length", 1)]
    left = streamed(model, events(*(chunk({"content": text}, end, index) for text, end, index in said)) + DONE, n=2)
    assert left.error is None
    ends = {c["index"]: c["finish_reason"] for one in left.chunks for c in one["choices"] if c["finish_reason"]}
    assert ends == {0: "stop", 1: "length"}


# Why a model stopped


@EACH_OPENAI
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        *((reason, reason) for reason in ("stop", "length", "tool_calls", "content_filter", "function_call")),
        ("model_length", "length"),
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("sensitive", "content_filter"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("COMPLETE", "stop"),
        ("TOOL_CALL", "tool_calls"),
        ("end_turn", "stop"),
        ("a-new-reason", "a-new-reason"),
    ],
)
def test_the_reason_of_a_whole_answer_and_of_a_stream_is_what_the_provider_said(
    model: str, said: str, expected: str
) -> None:
    assert completed(model, chat(finish_reason=said), {})["choices"][0]["finish_reason"] == expected
    left = streamed(model, events(chunk({"content": "x"}), chunk({}, said)) + DONE)
    assert left.chunks[-1]["choices"][0]["finish_reason"] == expected


@EACH_OPENAI
@pytest.mark.parametrize("said", ["error", "abort", "network_error", "insufficient_system_resource", "ERROR"])
def test_an_answer_that_its_provider_gave_up_on_is_an_error(model: str, said: str) -> None:
    with pytest.raises(ProviderUnavailableError):
        completed(model, chat(finish_reason=said), {})


@EACH_CLAUDE
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "length"),
        ("a-new-reason", "a-new-reason"),
    ],
)
def test_the_stop_reason_of_anthropic_is_translated(model: str, said: str, expected: str) -> None:
    answer = completed(model, message([{"type": "text", "text": "hi"}], said), {})
    assert answer["choices"][0]["finish_reason"] == expected
    left = streamed(model, message_events([(TEXT, [HEL])], said))
    assert [c["finish_reason"] for one in left.chunks for c in one["choices"]][-1] == expected


# What is in a message


FILTER = {"hate": {"filtered": False, "severity": "safe"}}


@EACH_OPENAI
@pytest.mark.parametrize(
    ("where", "members"),
    [
        pytest.param("message", {"refusal": "no", "content": None}, id="a refusal"),
        pytest.param("message", {"reasoning_content": "because"}, id="reasoning"),
        pytest.param("message", {"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]}),
        pytest.param(
            "message", {"audio": {"id": "a", "data": "AA==", "transcript": "hi", "expires_at": 1}}, id="audio"
        ),
        pytest.param("message", {"a_new_member": {"x": [1]}}, id="a new member of a message"),
        pytest.param("choice", {"content_filter_results": FILTER}, id="the results of Azure's filter"),
        pytest.param("choice", {"logprobs": {"content": [{"token": "hi", "logprob": -0.1}]}}, id="log probabilities"),
        pytest.param("choice", {"stop_reason": "END"}, id="the stop reason of vLLM"),
        pytest.param("answer", {"prompt_filter_results": [{"prompt_index": 0}]}, id="the filter of the prompt"),
        pytest.param("answer", {"citations": ["https://example.com"]}, id="citations"),
        pytest.param("answer", {"service_tier": "default", "system_fingerprint": "fp_1"}, id="tier and fingerprint"),
        pytest.param("answer", {"usage": {"prompt_tokens": 3, "cost": 0.1, "prompt_tokens_details": {"x": 1}}}),
    ],
)
def test_every_member_arrives(model: str, where: str, members: dict[str, Any]) -> None:
    answer = chat({"content": "hi", **members} if where == "message" else None)
    holder = {"message": answer["choices"][0]["message"], "choice": answer["choices"][0], "answer": answer}[where]
    holder |= members
    left = completed(model, answer, {})
    arrived = {"message": left["choices"][0]["message"], "choice": left["choices"][0], "answer": left}[where]
    assert {name: arrived[name] for name in members} == members


@EACH_OPENAI
def test_the_chunks_of_azures_filters_arrive(model: str) -> None:
    first = {**chunk(), "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTER}]}
    later = {**chunk(), "choices": [{"index": 0, "finish_reason": None, "content_filter_results": FILTER}]}
    left = streamed(model, events(first, chunk({"content": "hi"}), chunk({}, "stop"), later) + DONE)
    assert left.error is None
    assert left.chunks[0]["choices"] == []
    assert left.chunks[0]["prompt_filter_results"] == first["prompt_filter_results"]
    assert left.chunks[-1]["choices"][0] == {**later["choices"][0], "delta": {}}


@EACH_OPENAI
def test_a_delta_that_is_null_is_an_empty_one(model: str) -> None:
    empty = {**chunk(), "choices": [{"index": 0, "delta": None, "finish_reason": None}]}
    left = streamed(model, events(empty, chunk({"content": "hi"}), chunk({}, "stop")) + DONE)
    assert left.error is None
    assert left.chunks[0]["choices"][0]["delta"] == {}


@EACH_OPENAI
def test_the_reasoning_of_newer_servers_is_there_under_both_names(model: str) -> None:
    message = completed(model, chat({"content": "42", "reasoning": "because"}), {})["choices"][0]["message"]
    assert (message["reasoning"], message["reasoning_content"]) == ("because", "because")


@EACH_OPENAI
def test_content_in_parts_becomes_text(model: str) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "because"}]}
    parts = [thinking, {"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    message = completed(model, chat({"content": parts}), {})["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("42", "because")
    left = streamed(model, events(chunk({"content": [thinking]}), chunk({"content": "42"}), chunk({}, "stop")) + DONE)
    assert left.chunks[0]["choices"][0]["delta"]["reasoning_content"] == "because"


@pytest.mark.parametrize("model", [*OPENAI_SHAPED, *CLAUDES])
def test_a_byte_order_mark_does_not_swallow_the_first_event(model: str) -> None:
    stream = (
        message_events([(TEXT, [HEL])])
        if model in CLAUDES
        else events(chunk({"content": "Hel"}), chunk({}, "stop")) + DONE
    )
    assert text_of(streamed(model, b"\xef\xbb\xbf" + stream).chunks) == "Hel"
    assert text_of(streamed(model, stream.replace(b"\n", b"\r")).chunks) == "Hel"


# What tools and sources there were


SERVER_TOOL: dict[str, Any] = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
RESULT: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
CITATION = {"type": "web_search_result_location", "url": "https://example.com/a", "title": "A", "cited_text": "hi"}


@EACH_CLAUDE
def test_a_tool_of_the_providers_own_is_no_call_of_the_clients(model: str) -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "See: "},
        SERVER_TOOL,
        RESULT,
        {"type": "text", "text": "hi", "citations": [CITATION]},
    ]
    choice = completed(model, message(blocks), {})["choices"][0]
    cited = {"url": "https://example.com/a", "title": "A", "start_index": 5, "end_index": 7}
    assert "tool_calls" not in choice["message"]
    assert choice["message"]["content"] == "See: hi"
    assert choice["message"]["annotations"] == [{"type": "url_citation", "url_citation": cited}]
    assert choice["finish_reason"] == "stop"
    stream = message_events(
        [
            (TEXT, [{"type": "text_delta", "text": "See: "}]),
            ({**SERVER_TOOL, "input": {}}, [{"type": "input_json_delta", "partial_json": '{"query":"x"}'}]),
            (RESULT, []),
            (TEXT, [{"type": "text_delta", "text": "hi"}, {"type": "citations_delta", "citation": CITATION}]),
        ]
    )
    left = streamed(model, stream)
    deltas = [c["delta"] for one in left.chunks for c in one["choices"]]
    assert text_of(left.chunks) == "See: hi"
    assert not any("tool_calls" in delta for delta in deltas)
    assert [one for delta in deltas for one in delta.get("annotations", [])] == [
        {"type": "url_citation", "url_citation": cited}
    ]


@EACH_CLAUDE
def test_a_tool_without_arguments_has_an_empty_object(model: str) -> None:
    tool = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
    call = completed(model, message([tool], "tool_use"), {"tools": WEATHER})["choices"][0]["message"]["tool_calls"][0]
    assert call["function"] == {"name": "weather", "arguments": "{}"}
    left = streamed(model, message_events([(tool, [])], "tool_use"), tools=WEATHER)
    calls = [call for one in left.chunks for c in one["choices"] for call in c["delta"].get("tool_calls", [])]
    assert "".join(call["function"]["arguments"] for call in calls) == "{}"
    assert {call["index"] for call in calls} == {0}


@EACH_CLAUDE
def test_thoughts_arrive_with_their_signatures(model: str) -> None:
    thought = {"type": "thinking", "thinking": "because", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "AA=="}
    answer = completed(model, message([thought, hidden, {"type": "text", "text": "42"}]), {})
    said = answer["choices"][0]["message"]
    assert (said["reasoning_content"], said["thinking_blocks"]) == ("because", [thought, hidden])
    deltas = [{"type": "thinking_delta", "thinking": "because"}, {"type": "signature_delta", "signature": "s"}]
    left = streamed(
        model, message_events([({**thought, "thinking": "", "signature": ""}, deltas), (hidden, []), (TEXT, [HEL])])
    )
    said_in_pieces = [c["delta"] for one in left.chunks for c in one["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in said_in_pieces) == "because"
    blocks = [block for delta in said_in_pieces for block in delta.get("thinking_blocks", [])]
    assert [block.get("signature") for block in blocks] == [None, "s", None]
    assert blocks[-1] == hidden


# What was counted


@EACH_CLAUDE
def test_all_that_anthropic_read_is_counted(model: str) -> None:
    counted = {
        "input_tokens": 5,
        "output_tokens": 7,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 200,
    }
    usage = completed(model, message([{"type": "text", "text": "x"}], usage=counted), {})["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (305, 7, 312)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 200, "cache_creation_tokens": 100}


@pytest.mark.parametrize("model", [*OPENAI_SHAPED, *CLAUDES])
def test_a_count_that_was_not_sent_is_not_made_up(model: str) -> None:
    answer = message([{"type": "text", "text": "x"}], usage={}) if model in CLAUDES else chat()
    assert "usage" not in completed(model, answer, {})
    if model not in CLAUDES:
        left = streamed(
            model, events(chunk({"content": "x"}), chunk({}, "stop")) + DONE, stream_options={"include_usage": True}
        )
        assert all(one.get("usage") is None for one in left.chunks)


@EACH_OPENAI
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("alone", [True, False], ids=["in a chunk of its own", "with the last choice"])
def test_the_counts_of_a_stream_come_last_and_without_choices_if_they_were_asked_for(
    model: str, asked: bool, alone: bool
) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    last = (
        events(chunk({}, "stop"), {**chunk(), "choices": [], "usage": usage})
        if alone
        else events(chunk({}, "stop", usage=usage))
    )
    options = {"stream_options": {"include_usage": True}} if asked else {}
    left = streamed(model, events(chunk({"content": "x"})) + last + DONE, **options)
    assert left.error is None
    without_choices = [one["usage"] for one in left.chunks if not one["choices"]]
    assert without_choices == [usage] * asked
    assert bool(left.chunks[-1]["choices"]) is not asked


# What is sent


@pytest.fixture
def provider() -> Any:
    with stand_in(KEY) as running:
        yield running


def sent(provider: StandInProvider, model: str, **params: Any) -> dict[str, Any]:
    """Return the body that the provider received."""
    provider.forget()
    with_gateway(Keys(provider.url), lambda gateway: whole(gateway, model, **params))
    (request,) = provider.requests
    return dict(request.body)


MISTRALS = pytest.mark.parametrize("model", ["mistral-litellm", "mistral-legacy"])


@MISTRALS
def test_mistral_gets_its_own_names(provider: StandInProvider, model: str) -> None:
    body = sent(provider, model, seed=7, max_completion_tokens=10, store=False, service_tier="auto", logit_bias={})
    assert body == {
        "model": "up/mistral-model",
        "messages": HELLO,
        "random_seed": 7,
        "max_tokens": 10,
        "stream": False,
    }


@MISTRALS
@pytest.mark.parametrize(
    "params",
    [{"logit_bias": {"1": 5}}, {"service_tier": "flex"}, {"logprobs": True}, {"user": "u"}, {"top_k": 5}],
    ids=lambda params: next(iter(params)),
)
def test_what_mistral_does_not_take_is_refused_by_name(
    provider: StandInProvider, model: str, params: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        sent(provider, model, **params)
    assert [error.field for error in refused.value.fields] == list(params)
    assert provider.requests == []


@MISTRALS
def test_two_names_of_one_limit_may_not_differ(provider: StandInProvider, model: str) -> None:
    assert sent(provider, model, max_tokens=5, max_completion_tokens=5)["max_tokens"] == 5
    with pytest.raises(InvalidRequestError, match="max_tokens"):
        sent(provider, model, max_tokens=5, max_completion_tokens=6)


@MISTRALS
def test_nothing_is_added_to_a_prompt_of_mistral_and_nothing_is_lost_of_it(
    provider: StandInProvider, model: str
) -> None:
    document = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    messages = [{"role": "user", "content": [{"type": "text", "text": "read"}, document]}]
    assert sent(provider, model, messages=messages, reasoning_effort="high")["messages"] == messages


@MISTRALS
def test_an_answer_can_be_sent_back_to_mistral(provider: StandInProvider, model: str) -> None:
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "42",
        "refusal": None,
        "reasoning_content": "because",
        "annotations": [],
    }
    messages = [*HELLO, said, *HELLO]
    assert sent(provider, model, messages=messages)["messages"][1] == {"role": "assistant", "content": "42"}


@EACH_CLAUDE
def test_what_asks_for_nothing_is_left_out(provider: StandInProvider, model: str) -> None:
    plain = sent(provider, model)
    unasked = {"n": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "store": False, "parallel_tool_calls": True}
    assert sent(provider, model, **unasked, logprobs=False, service_tier="auto", logit_bias={}) == plain


@EACH_CLAUDE
@pytest.mark.parametrize("content", ["", None, [{"type": "text", "text": ""}]], ids=["empty", "null", "an empty part"])
def test_nothing_is_put_into_the_mouth_of_a_model_that_called_a_tool(
    provider: StandInProvider, model: str, content: Any
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lund"}'}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    turn = sent(provider, model, messages=messages, tools=WEATHER)["messages"][1]
    assert turn["content"] == [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Lund"}}]


@EACH_CLAUDE
def test_an_empty_message_is_refused_by_its_number(provider: StandInProvider, model: str) -> None:
    with pytest.raises(InvalidRequestError, match="message 2 is empty"):
        sent(provider, model, messages=[*HELLO, {"role": "user", "content": ""}])


@EACH_CLAUDE
def test_json_without_a_schema_is_refused_by_name(provider: StandInProvider, model: str) -> None:
    with pytest.raises(InvalidRequestError, match="response_format"):
        sent(provider, model, response_format={"type": "json_object"})


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "anthropic-legacy"])
def test_thoughts_go_back_first_in_their_turn(provider: StandInProvider, model: str) -> None:
    thought = {"type": "thinking", "thinking": "because", "signature": "s"}
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    said = {"role": "assistant", "content": "", "thinking_blocks": [thought], "tool_calls": [call]}
    messages = [*HELLO, said, {"role": "tool", "tool_call_id": "c1", "content": "rain"}]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body = sent(provider, model, messages=messages, tools=WEATHER, thinking=thinking, max_tokens=4000)
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use"]
    assert body["messages"][1]["content"][0] == thought


@EACH_CLAUDE
def test_an_image_has_a_media_type_that_anthropic_knows(provider: StandInProvider, model: str) -> None:
    def asked(url: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]

    body = sent(provider, model, messages=asked("data:image/jpg;base64,AAAA"))
    assert body["messages"][0]["content"][0]["source"]["media_type"] == "image/jpeg"
    with pytest.raises(InvalidRequestError, match="without a media type"):
        sent(provider, model, messages=asked("data:;base64,AAAA"))


@pytest.mark.parametrize("model", ["vllm-litellm", "vllm-legacy"])
def test_vllm_gets_its_own_members(provider: StandInProvider, model: str) -> None:
    own = {"cache_salt": "s", "priority": 1, "documents": [{"text": "x"}], "add_special_tokens": False}
    strict = {"type": "function", "function": {"name": "f", "strict": True}}
    body = sent(provider, model, **own, tools=[strict])
    assert {name: body[name] for name in own} == own
    assert body["tools"][0]["function"]["strict"] is True


@pytest.mark.parametrize("model", ["openai-litellm", "vllm-legacy"])
def test_a_stream_that_was_read_to_its_end_leaves_its_connection_for_the_next_call(model: str) -> None:
    body = events(chunk({"content": "x"}), chunk({}, "stop")) + DONE
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", asked, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def use(gateway: Gateway) -> list[str]:
        async with serving(serve) as port:
            keys.url = f"http://127.0.0.1:{port}"
            return [text_of(await chunks(gateway, model)) for _ in range(3)]

    keys = Keys("")
    assert with_gateway(keys, use) == ["x"] * 3
    assert connections == 1
