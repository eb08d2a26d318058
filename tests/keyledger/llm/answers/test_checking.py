"""A provider's answer is passed on in proportion to what was asked, or refused whole."""

import asyncio
import base64
import json
from array import array
from functools import partial
from typing import Any

import pytest
from yarl import URL

from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.errors import ProviderUnavailableError
from keyledger.llm.answers.bounds import CHAT_MAX, EVENT_MAX, Bounds, chat_bounds, embeddings_bounds
from keyledger.llm.requests.origin import BEARER, origin_of
from keyledger.llm.requests.parameters import chat_request, embeddings_request
from keyledger.llm.requests.prepared import Prepared
from keyledger.llm.wire.dispatch import CallFailedError
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.wire import Wire, events, whole
from tests.keyledger.llm.answered import completed, streamed
from tests.keyledger.llm.raw_server import STREAM, answering
from tests.keyledger.llm.rig import HELLO, KEY, TENANT, text_of

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
LARGE = "a word " * 100_000
FEW = ["one", "two", "three"]


def chat(count: int = 1, message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An answer that is in order, but for what is asked to be different."""
    said = {"role": "assistant", "content": "hello", **(message or {})}
    choices = [{"index": i, "finish_reason": "stop", "message": said} for i in range(count)]
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **more}


def messages(**more: Any) -> dict[str, Any]:
    """The same of Anthropic."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    text = [{"type": "text", "text": "hello"}]
    return {"id": "1", "type": "message", "role": "assistant", "content": text, "usage": usage, **more}


def vectors(*embeddings: Any, **more: Any) -> dict[str, Any]:
    items = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(embeddings)]
    return {"object": "list", "model": "m", "data": items, "usage": {"prompt_tokens": 1, "total_tokens": 1}, **more}


def event(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: %s\n\n" % json.dumps({"id": "1", "created": 1, "choices": [choice], **more}).encode()


END = event({}, "stop") + b"data: [DONE]\n\n"


def asked_chat(**more: Any) -> Bounds:
    return chat_bounds(chat_request({"messages": HELLO, **more}))


def asked_embeddings(inputs: Any, **more: Any) -> Bounds:
    return embeddings_bounds(embeddings_request({"input": inputs, **more}))


async def _received(body: bytes, bounds: Bounds, *, streaming: bool) -> tuple[Lease, list[Any]]:
    """Return what the adapters would be given of this answer: a whole one, or its events."""
    async with answering(body, STREAM if streaming else "application/json") as url:
        lease = Lease(
            origin_of(URL(url)),
            BEARER,
            Secret(KEY),
            owner=Owner(TENANT, "openai", 1),
            checked=False,
            streaming=streaming,
            bounds=bounds,
        )
        wire = Wire(EndpointRules)
        given: list[Any] = []
        try:
            await wire.send(lease, url, Prepared(b"{}"))
            if streaming:
                async for content in events(lease):
                    given.append(content)  # noqa: PERF401  what came before a refusal is kept
            else:
                given.append(await whole(lease))
        except CallFailedError:
            pass
        finally:
            lease.drop_answer()
            await wire.aclose()
        return lease, given


def built(answer: Any) -> Any:
    """The answer; a large one is made when its test runs, not when tests are collected."""
    return answer() if isinstance(answer, partial) else answer


def received(body: bytes, bounds: Bounds, *, streaming: bool = False) -> tuple[Lease, list[Any]]:
    return asyncio.run(_received(body, bounds, streaming=streaming))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(partial(chat, 150_000), "answer-too-large", id="more bytes than any chat"),
        pytest.param(partial(chat, 30_000), "answer-too-complex", id="a choice for every byte"),
        pytest.param(chat(2), "answer-too-complex", id="two choices where one was asked for"),
        pytest.param(chat(message={"tool_calls": [CALL] * 1001}), "answer-too-complex", id="tool calls"),
        pytest.param(chat(message={"annotations": [1] * 1001}), "answer-too-complex", id="annotations"),
        pytest.param(chat(more=[[]] * 5000), "answer-too-complex", id="empty lists"),
        pytest.param(chat(more=[1] * 50_000), "answer-too-complex", id="numbers"),
        pytest.param(chat(more={"\\": '"[,]"' * 9, **dict.fromkeys(map(str, range(50_000)))}), "answer-too-complex"),
        pytest.param(chat(usage=dict.fromkeys(map(str, range(300)), 1)), "answer-too-complex", id="usage"),
        pytest.param(chat(model="m" * 2000), "answer-too-complex", id="the name of the model"),
        pytest.param(chat(message={"role": "r" * 2000}), "answer-too-complex", id="the role"),
        pytest.param(messages(content=[{"type": "text", "text": ""}] * 1001), "answer-too-complex", id="blocks"),
        pytest.param({"error": {"message": LARGE}}, "answer-not-usable", id="a large error"),
        pytest.param(chat(error="x"), "answer-not-usable", id="an error alongside an answer"),
        pytest.param(chat(choices=[5]), "answer-not-usable", id="a choice that is a number"),
        pytest.param(chat(choices=5), "answer-not-usable", id="choices that are a number"),
        pytest.param(chat(more=float("nan")), "answer-not-usable", id="NaN"),
        pytest.param([], "answer-not-usable", id="no object"),
    ],
)
def test_an_answer_out_of_proportion_is_refused(answer, reason):
    lease, given = received(json.dumps(built(answer)).encode(), asked_chat())
    assert lease.observation.failure == reason
    assert given == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"[" * 100_000, "answer-too-complex", id="nothing but beginnings"),
        pytest.param(b'{"a":' * 100 + b"1" + b"}" * 100, "answer-too-complex", id="nested too deep"),
        pytest.param(b'{"a":"' + rb"\"" * CHAT_MAX, "answer-too-large", id="more than is read"),
        pytest.param(b'{"a": 1e999}', "answer-not-usable", id="a number that is infinite"),
        pytest.param(b'{"a": "\xff"}', "answer-not-usable", id="no UTF-8"),
        *(
            pytest.param(json.dumps(chat()).encode(encoding), "answer-not-usable", id=encoding)
            for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
        ),
        pytest.param(b'{"a": %s}' % (b"9" * 9999), "answer-not-usable", id="a number without end"),
        pytest.param(b"", "answer-not-usable", id="nothing"),
    ],
)
def test_what_is_no_answer_at_all_is_refused(body, reason):
    lease, given = received(body, asked_chat())
    assert lease.observation.failure == reason
    assert given == []


@pytest.mark.parametrize(
    ("answer", "bounds"),
    [
        pytest.param(chat(), asked_chat(), id="a small one"),
        pytest.param(chat(128), asked_chat(n=128), id="as many choices as asked for"),
        pytest.param(chat(message={"content": LARGE}), asked_chat(), id="a long text"),
        pytest.param(chat(message={"content": '{"a": [1, "\\"]"]},' * 50_000}), asked_chat(), id="JSON in a text"),
        pytest.param(chat(message={"content": None, "tool_calls": [CALL] * 1000}), asked_chat(), id="many tool calls"),
        pytest.param(chat(message={"content": "\ud800 \u2028 é"}), asked_chat(), id="half a character"),
        pytest.param(messages(), asked_chat(), id="one of Anthropic"),
        pytest.param(messages(content=[{"type": "text", "text": LARGE}]), asked_chat(), id="a long one of Anthropic"),
    ],
)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_an_answer_in_proportion_is_passed_on_unchanged(answer, bounds, ascii_only):
    body = json.dumps(answer, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    if b"\xed\xa0\x80" in body:
        return  # only an escape can write half a character
    lease, given = received(body, bounds)
    assert lease.observation.failure is None
    assert given == [answer]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        pytest.param(event({"content": "x" * EVENT_MAX}), "answer-too-large", id="a long event"),
        pytest.param(b"data: " * EVENT_MAX, "answer-too-large", id="an event without end"),
        pytest.param(event({"tool_calls": [CALL] * 200}), "answer-too-complex", id="many calls in one event"),
        pytest.param(event({}, message={}, more=[[]] * 5000), "answer-too-complex", id="an intricate event"),
        pytest.param(event({"role": "r" * 2000}), "answer-too-complex", id="a long role"),
        pytest.param(event({}, choices=chat(2)["choices"]), "answer-too-complex", id="a choice no one asked for"),
        pytest.param(b"data: hello\n\n", "answer-not-usable", id="no JSON"),
        pytest.param(event({}, error={"message": "x"}), "answer-not-usable", id="an error"),
        pytest.param(b'data: {"type": "error"}\n\n', "answer-not-usable", id="an error of Anthropic"),
    ],
)
def test_a_stream_ends_before_an_event_that_is_out_of_proportion(stream, reason):
    lease, given = received(event({"content": "hello"}) + stream + END, asked_chat(stream=True), streaming=True)
    assert lease.observation.failure == reason
    assert [content["choices"][0]["delta"] for content in given] == [{"content": "hello"}]


def test_between_two_events_that_came_together_others_have_their_turn():
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> list[Any]:
        beside = asyncio.create_task(others())
        _, given = await _received(event({"content": "x"}) * 500 + END, asked_chat(stream=True), streaming=True)
        beside.cancel()
        return given

    assert len(asyncio.run(run())) == 501
    assert turns > 500


LOGPROBS = {"content": [{"token": "hello", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}], "refusal": None}


@pytest.mark.parametrize("model", ["openai-litellm", "vllm-litellm", "openai-legacy"])
def test_log_probabilities_arrive_unchanged(model):
    answer = chat(2, prompt_logprobs=[None, {"5": {"logprob": -1.0}}])
    answer["choices"][1]["logprobs"] = LOGPROBS
    params = {"messages": HELLO, "n": 2, "logprobs": True, "prompt_logprobs": 1}
    body = completed(model, answer, params)
    assert body["choices"][1]["logprobs"] == LOGPROBS
    assert body["choices"][0].get("logprobs") is None
    assert body["prompt_logprobs"] == answer["prompt_logprobs"]


@pytest.mark.parametrize("model", ["openai-litellm", "vllm-litellm", "anthropic-litellm", "openai-legacy"])
def test_a_refused_answer_is_an_error_of_the_provider(model):
    answer = messages(content=[{"type": "x"}] * 1001) if model.startswith("anthropic") else chat(20_000)
    with pytest.raises(ProviderUnavailableError) as caught:
        completed(model, answer, {"messages": HELLO})
    assert caught.value.reason == "answer-too-complex"


EMBEDDERS = ["openai-litellm-emb", "vllm-litellm-emb", "azure-litellm-emb", "openai-legacy-emb"]
NUMBERS = [[0.25, -0.5, 3], [1.0, 2.0, 1e-7], [0, 0, 0]]
CODED = [base64.b64encode(array("f", [0.25, -0.5, 3.0]).tobytes()).decode()] * 3


@pytest.mark.parametrize("model", EMBEDDERS)
@pytest.mark.parametrize(
    ("sent", "encoding", "expected"),
    [
        pytest.param(NUMBERS, {}, NUMBERS, id="numbers"),
        pytest.param(NUMBERS, {"encoding_format": "float"}, NUMBERS, id="numbers, asked for"),
        pytest.param(CODED, {"encoding_format": "base64"}, CODED, id="base64, asked for"),
        pytest.param(CODED, {}, [[0.25, -0.5, 3.0]] * 3, id="base64, not asked for"),
    ],
)
def test_vectors_come_back_as_they_were_asked_for(model, sent, encoding, expected):
    body = completed(model, vectors(*sent), {"input": FEW, **encoding})
    assert [item["embedding"] for item in body["data"]] == expected


def test_what_looks_like_a_vector_inside_a_text_is_left_alone():
    odd = json.dumps({"embedding": [7, 7]})
    lease, given = received(json.dumps(vectors([1.5], model=odd)).encode(), asked_embeddings("hello"))
    assert lease.observation.failure is None
    assert [(one["model"], one["data"][0]["embedding"]) for one in given] == [(odd, [1.5])]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(vectors(*[[1.0]] * 4), "answer-too-complex", id="more than there were inputs"),
        pytest.param(partial(vectors, *[[1.0]] * 200_000), "answer-too-large", id="more bytes than three take"),
        pytest.param(partial(vectors, [1] * 400_000), "answer-too-complex", id="one that is too long"),
        pytest.param(vectors([1.0, None]), "answer-not-usable", id="null"),
        pytest.param(vectors([True]), "answer-not-usable", id="true"),
        pytest.param(vectors([float("inf")]), "answer-not-usable", id="infinity"),
        pytest.param(vectors([10**400]), "answer-not-usable", id="more than a number can be"),
        pytest.param(vectors("AAA="), "answer-not-usable", id="base64 of half a number"),
        pytest.param(vectors("AACAfw=="), "answer-not-usable", id="base64 of infinity"),
        pytest.param(vectors("?"), "answer-not-usable", id="no base64"),
        pytest.param(vectors(5), "answer-not-usable", id="a number"),
        pytest.param(vectors({}), "answer-not-usable", id="an object"),
        pytest.param(vectors(data=[5]), "answer-not-usable", id="an item that is not one"),
        pytest.param(chat(), "answer-not-usable", id="a chat"),
    ],
)
def test_embeddings_out_of_proportion_are_refused(answer, reason):
    lease, given = received(json.dumps(built(answer)).encode(), asked_embeddings(FEW))
    assert lease.observation.failure == reason
    assert given == []


@pytest.mark.parametrize(
    ("inputs", "items"),
    [("hello", 1), ([1, 2, 3], 1), (["a", "b"], 2), ([[1], [2], [3]], 3)],
    ids=["a text", "tokens", "texts", "lists of tokens"],
)
def test_as_many_embeddings_are_accepted_as_there_were_inputs(inputs, items):
    assert asked_embeddings(inputs).items == items


SPEAKS_OPENAI = [f"{provider}-litellm" for provider in ("openai", "azure", "mistral", "ovhcloud", "berget", "vllm")]


@pytest.mark.parametrize("model", SPEAKS_OPENAI)
def test_a_text_that_speaks_of_the_end_of_a_stream_is_no_end(model):
    words = ["Print ", "[DONE] to finish,", " then ", '"[DONE]"', " and exit."]
    stream = b"".join(event({"content": word}) for word in words) + event({}, "length") + b"data: [DONE]\n\n"
    chunks = streamed(model, stream).chunks
    assert text_of(chunks) == "".join(words)
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "length"


def test_a_text_of_anthropic_that_speaks_of_the_end_of_a_stream_is_no_end():
    def said(**members: Any) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (members["type"].encode(), json.dumps(members).encode())

    deltas = [{"type": "text_delta", "text": text} for text in ("Print ", "[DONE] to", " finish")]
    stream = said(type="message_start", message=messages(content=[]))
    stream += said(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
    stream += b"".join(said(type="content_block_delta", index=0, delta=delta) for delta in deltas)
    stream += said(type="content_block_stop", index=0)
    stream += said(type="message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 3})
    stream += said(type="message_stop")
    chunks = streamed("anthropic-litellm", stream).chunks
    assert text_of(chunks) == "Print [DONE] to finish"
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "length"


@pytest.mark.parametrize("model", SPEAKS_OPENAI)
def test_every_chunk_says_which_system_and_tier_served_it(model):
    served = {"system_fingerprint": "fp_1", "service_tier": "default"}
    words = [event({"content": word}, **served) for word in FEW]
    chunks = streamed(model, b"".join(words) + event({}, "stop", **served)).chunks
    assert {(chunk.get("system_fingerprint"), chunk.get("service_tier")) for chunk in chunks} == {("fp_1", "default")}


@pytest.mark.parametrize("model", ["openai-litellm", "vllm-litellm"])
def test_the_usage_of_a_long_stream_is_still_told_at_its_end(model):
    usage = {"prompt_tokens": 5, "completion_tokens": 400, "total_tokens": 405}
    words = b"".join(event({"content": f"word{number} "}) for number in range(400))
    stream = words + event({}, "stop") + event({}, choices=[], usage=usage) + b"data: [DONE]\n\n"
    chunks = streamed(model, stream, stream_options={"include_usage": True}).chunks
    assert text_of(chunks) == "".join(f"word{number} " for number in range(400))
    told = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert [(t["prompt_tokens"], t["completion_tokens"]) for t in told] == [(5, 400)]
