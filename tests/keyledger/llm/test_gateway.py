"""Every provider is called at its own path with the key in its own header, through both adapters."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from domain.calls.models import Answer, AnswerStream
from domain.credentials.resolution import Receipt, Source
from domain.errors import ErrorCode, InvalidRequestError, NoCredentialError
from scripts.demo.stand_in_provider import StandInProvider
from tests.keyledger.llm.rig import (
    KEY,
    PROVIDERS,
    TENANT,
    WEATHER,
    Keys,
    chunks,
    stand_in,
    text_of,
    whole,
    with_gateway,
)
from tests.support.errors import raises

CHAT = {
    "openai": ("/openai/v1/chat/completions", "authorization"),
    "anthropic": ("/anthropic/v1/messages", "x-api-key"),
    "mistral": ("/mistral/v1/chat/completions", "authorization"),
    "ovhcloud": ("/ovhcloud/v1/chat/completions", "authorization"),
    "berget": ("/berget/v1/chat/completions", "authorization"),
    "azure": ("/azure/openai/deployments/dep-1/chat/completions", "api-key"),
    "vllm": ("/vllm/v1/chat/completions", "authorization"),
}
BOTH = pytest.mark.parametrize("adapter", ["litellm", "legacy"])
EACH = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture(scope="module")
def _running() -> Iterator[StandInProvider]:
    with stand_in() as running:
        yield running


@pytest.fixture
def provider_server(_running: StandInProvider) -> StandInProvider:
    _running.forget()
    _running.misbehave = None
    return _running


def _assert_one_request(server: StandInProvider, path: str, header: str) -> None:
    (request,) = server.requests
    assert (request.method, request.path, request.key, request.key_header) == ("POST", path, KEY, header)
    keys = {name for name, value in request.headers.items() if KEY in value}
    assert keys == {header}
    assert set(request.headers) <= {
        *("accept", "accept-encoding", "anthropic-version", "anthropic-beta", "content-length", "content-type"),
        *("host", "user-agent", header),
    }
    assert KEY not in json.dumps(request.body)


@EACH
@BOTH
def test_a_chat_reaches_the_provider_with_the_key_in_its_header(provider_server, provider, adapter):
    name = f"{provider}-{adapter}"
    answer = with_gateway(Keys(provider_server.url), lambda gateway: whole(gateway, name))
    _assert_one_request(provider_server, *CHAT[provider])
    choice = answer["choices"][0]
    assert choice["message"]["content"].startswith("Hello from")
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "stop"
    assert answer["model"] == name
    assert answer["usage"]["total_tokens"] == 12


@EACH
@BOTH
def test_a_stream_arrives_in_chunks_of_the_same_form(provider_server, provider, adapter):
    name = f"{provider}-{adapter}"
    pieces = with_gateway(Keys(provider_server.url), lambda gateway: chunks(gateway, name))
    _assert_one_request(provider_server, *CHAT[provider])
    assert text_of(pieces).startswith("Hello from")
    assert {piece["model"] for piece in pieces} == {name}
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    reasons = [choice["finish_reason"] for piece in pieces for choice in piece["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    assert not any("usage" in piece for piece in pieces)


@EACH
@BOTH
def test_a_stream_ends_with_its_usage_where_that_was_asked_for(provider_server, provider, adapter):
    pieces = with_gateway(
        Keys(provider_server.url),
        lambda gateway: chunks(gateway, f"{provider}-{adapter}", stream_options={"include_usage": True}),
    )
    assert pieces[-1]["usage"]["total_tokens"] == 12


@EACH
@BOTH
def test_a_tool_call_comes_back_whole(provider_server, provider, adapter):
    answer = with_gateway(
        Keys(provider_server.url), lambda gateway: whole(gateway, f"{provider}-{adapter}", tools=WEATHER)
    )
    _assert_one_request(provider_server, *CHAT[provider])
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert json.loads(call["function"]["arguments"]) == {"city": "Uppsala"}
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"]["content"] is None


@EACH
@BOTH
def test_a_tool_call_is_streamed_in_pieces(provider_server, provider, adapter):
    pieces = with_gateway(
        Keys(provider_server.url), lambda gateway: chunks(gateway, f"{provider}-{adapter}", tools=WEATHER)
    )
    calls = [call for p in pieces for c in p["choices"] for call in c["delta"].get("tool_calls") or []]
    assert calls[0]["function"]["name"] == "weather"
    assert {call["index"] for call in calls} == {0}
    assert json.loads("".join(call["function"].get("arguments") or "" for call in calls)) == {"city": "Uppsala"}
    assert [c["finish_reason"] for c in pieces[-1]["choices"]] == ["tool_calls"]


@EACH
@BOTH
def test_the_result_of_a_tool_goes_back_to_the_model(provider_server, provider, adapter):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Uppsala"}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is the weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    with_gateway(
        Keys(provider_server.url),
        lambda gateway: whole(gateway, f"{provider}-{adapter}", messages=messages, tools=WEATHER),
    )
    sent = json.dumps(provider_server.requests[0].body)
    assert "sunny" in sent
    assert "Be brief." in sent
    assert "call_1" in sent


@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"anthropic"}))
@BOTH
def test_embeddings_come_back_from_every_provider_that_has_them(provider_server, provider, adapter):
    async def embed(gateway):
        return await gateway.embed(TENANT, f"{provider}-{adapter}-emb", {"input": ["one", "two"], "dimensions": 3})

    answer = with_gateway(Keys(provider_server.url), embed)
    path, header = CHAT[provider]
    _assert_one_request(provider_server, path.replace("chat/completions", "embeddings"), header)
    assert [entry["embedding"] for entry in answer.body["data"]] == [[0.25, -0.5, 0.0], [0.25, -0.5, 1.0]]
    assert answer.body["model"] == f"{provider}-{adapter}-emb"
    assert provider_server.requests[0].body["dimensions"] == 3


@BOTH
@pytest.mark.parametrize("version", ["v1", "latest", "preview"])
def test_azure_without_a_dated_version_speaks_plain_openai(provider_server, adapter, version):
    keys = Keys(provider_server.url, api_version=version)
    with_gateway(keys, lambda gateway: whole(gateway, f"azure-{adapter}"))
    _assert_one_request(provider_server, "/azure/openai/v1/chat/completions", "authorization")
    assert provider_server.requests[0].body["model"] == "dep-1"


@BOTH
def test_azure_is_always_told_the_version(provider_server, adapter):
    with_gateway(Keys(provider_server.url), lambda gateway: whole(gateway, f"azure-{adapter}"))
    assert provider_server.requests[0].query == {"api-version": "2024-10-21"}


@pytest.mark.parametrize("adapter", ["litellm", "legacy"])
@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"anthropic", "mistral"}))
def test_extras_of_open_model_servers_and_openai_metadata_arrive_as_they_are(provider_server, provider, adapter):
    extras: dict[str, Any] = {
        "top_k": 5,
        "chat_template_kwargs": {"enable_thinking": False},
        "metadata": {"a": "b"},
        "store": adapter == "litellm",  # the platform's key, which serves legacy models, keeps nothing
    }
    with_gateway(
        Keys(provider_server.url), lambda gateway: whole(gateway, f"{provider}-{adapter}", temperature=0.5, **extras)
    )
    sent = provider_server.requests[0].body
    assert {name: sent[name] for name in extras} == extras
    assert sent["temperature"] == 0.5


@BOTH
def test_the_receipt_says_whose_key_it_was(provider_server, adapter):
    answer = with_gateway(
        Keys(provider_server.url),
        lambda gateway: gateway.complete(TENANT, f"openai-{adapter}", {"messages": [{"role": "user", "content": "x"}]}),
    )
    assert isinstance(answer, Answer)
    expected = {
        "litellm": Receipt(Source.TENANT, "openai", 3, "k0123456789"),
        "legacy": Receipt(Source.GLOBAL, "openai"),
    }
    assert answer.receipt == expected[adapter]


def test_a_stream_that_is_closed_early_closes_its_connection(provider_server):
    async def read_one(gateway):
        answer = await gateway.complete(
            TENANT, "vllm-litellm", {"messages": [{"role": "user", "content": "x"}], "stream": True}
        )
        assert isinstance(answer, AnswerStream)
        await anext(answer.chunks)
        await answer.chunks.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(answer.chunks)

    with_gateway(Keys(provider_server.url), read_one)


def test_a_model_that_nobody_listed_is_unknown(provider_server):
    with raises(ErrorCode.UNKNOWN_MODEL, match=r"test_models\.yml"):
        with_gateway(Keys(provider_server.url), lambda gateway: whole(gateway, "gpt-unheard-of"))


@pytest.mark.parametrize(
    ("call", "model", "route"),
    [
        pytest.param("complete", "openai-litellm-emb", "embeddings", id="chat with an embedding model"),
        pytest.param("embed", "openai-litellm", "chat/completions", id="embeddings with a chat model"),
    ],
)
def test_a_model_of_the_other_kind_is_refused_with_the_right_route(provider_server, call, model, route):
    with pytest.raises(InvalidRequestError, match=route):
        with_gateway(Keys(provider_server.url), lambda gateway: getattr(gateway, call)(TENANT, model, {}))


def test_without_a_key_nothing_is_sent(provider_server):
    with pytest.raises(NoCredentialError):
        with_gateway(Keys(provider_server.url, keys={}), lambda gateway: whole(gateway, "openai-litellm"))
    assert provider_server.requests == []


@EACH
def test_keys_and_addresses_in_the_environment_are_never_used(provider_server, provider, monkeypatch):
    names = ("OPENAI", "ANTHROPIC", "MISTRAL", "OVHCLOUD", "BERGET", "AZURE", "AZURE_OPENAI", "HOSTED_VLLM", "VLLM")
    for name in names:
        monkeypatch.setenv(f"{name}_API_KEY", f"PLANTED-{name}")
        monkeypatch.setenv(f"{name}_API_BASE", "http://127.0.0.1:9/planted")
        monkeypatch.setenv(f"{name}_BASE_URL", "http://127.0.0.1:9/planted")
    for name in ("OPENAI_ORGANIZATION", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "AZURE_AD_TOKEN", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "PLANTED-OTHER")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with_gateway(Keys(provider_server.url), lambda gateway: whole(gateway, f"{provider}-litellm"))
    _assert_one_request(provider_server, *CHAT[provider])
    assert "PLANTED" not in str(provider_server.requests)


@EACH
@BOTH
def test_answers_have_the_form_that_the_official_client_expects(provider_server, provider, adapter):
    from openai.types import CreateEmbeddingResponse
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    async def everything(gateway):
        name = f"{provider}-{adapter}"
        ChatCompletion.model_validate(await whole(gateway, name), strict=True)
        ChatCompletion.model_validate(await whole(gateway, name, tools=WEATHER), strict=True)
        options = {"include_usage": True}
        for chunk in await chunks(gateway, name, tools=WEATHER) + await chunks(gateway, name, stream_options=options):
            ChatCompletionChunk.model_validate(chunk, strict=True)
        if provider != "anthropic":
            answer = await gateway.embed(TENANT, f"{name}-emb", {"input": "x", "encoding_format": "float"})
            CreateEmbeddingResponse.model_validate(answer.body, strict=True)

    with_gateway(Keys(provider_server.url), everything)
