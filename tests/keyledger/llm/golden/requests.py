"""Requests to record: every kind of model, with every kind of request, whole and streamed."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from domain.calls.models import Adapter, Model, ModelKind
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.resolution import Receipt, Route, Source
from keyledger.llm.adapters.direct import DirectAdapter
from keyledger.llm.adapters.litellm import LiteLLMAdapter, parameters_named_in
from keyledger.llm.adapters.openai_body import openai_embeddings
from keyledger.llm.requests.litellm_plans import Plan, plan
from keyledger.llm.requests.parameters import chat_request, embeddings_request

CHAT, EMBEDDING = ModelKind.COMPLETION, ModelKind.EMBEDDING


class Spoken(NamedTuple):
    """A model, and the version of the API where its provider has versions."""

    provider: str
    upstream: str
    kind: ModelKind = CHAT
    adapter: Adapter = Adapter.LITELLM
    api_version: str = "2024-10-21"


MODELS: Mapping[str, Spoken] = {
    "gpt-4o": Spoken("openai", "gpt-4o"),
    "gpt-5.1": Spoken("openai", "gpt-5.1"),
    "o3": Spoken("openai", "o3"),
    "claude-sonnet-4-5": Spoken("anthropic", "claude-sonnet-4-5"),
    "claude-opus-4-6": Spoken("anthropic", "claude-opus-4-6"),
    "claude-unknown": Spoken("anthropic", "claude-of-tomorrow"),
    "mistral-large": Spoken("mistral", "mistral-large-latest"),
    "magistral": Spoken("mistral", "magistral-medium-latest"),
    "ovhcloud": Spoken("ovhcloud", "Meta-Llama-3_3-70B-Instruct"),
    "berget": Spoken("berget", "meta-llama/Llama-3.3-70B-Instruct"),
    "vllm": Spoken("vllm", "Qwen/Qwen3-32B"),
    "azure-gpt-4o": Spoken("azure", "gpt-4o"),
    "azure-gpt-5": Spoken("azure", "gpt-5"),
    "azure-old": Spoken("azure", "gpt-4o", api_version="2024-02-01"),
    "azure-v1": Spoken("azure", "gpt-4o", api_version="v1"),
    "legacy-gpt": Spoken("openai", "gpt-4o", adapter=Adapter.LEGACY),
    "legacy-claude": Spoken("anthropic", "claude-3-7-sonnet-latest", adapter=Adapter.LEGACY),
    "embedding-openai": Spoken("openai", "text-embedding-3-small", EMBEDDING),
    "embedding-mistral": Spoken("mistral", "mistral-embed", EMBEDDING),
    "embedding-azure": Spoken("azure", "text-embedding-3-small", EMBEDDING),
    "embedding-vllm": Spoken("vllm", "intfloat/e5", EMBEDDING),
}

HELLO = [{"role": "user", "content": "Say hi."}]
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
JPG = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA"}}
LINK = {"type": "image_url", "image_url": {"url": "https://images.example.com/x.png"}}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "weather", "parameters": CITY}}
STRICT = {"type": "function", "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]
ODD_TOOL = {"type": "function", "function": {"name": "home.weather/get", "parameters": CITY}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Lund"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": CITY, "strict": True}}
THOUGHT = {"type": "thinking", "thinking": "because", "signature": "s"}
THINKING = {"role": "assistant", "content": "x", "thinking_blocks": [THOUGHT], "reasoning_content": "because"}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ODD_TEXT = {"role": "user", "content": "ünïcödé \u2028 \U0001f600"}

CHATS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "system": {"messages": [{"role": "system", "content": "Be short."}, *HELLO]},
    "developer": {"messages": [{"role": "developer", "content": "Be short."}, *HELLO]},
    "several turns": {
        "messages": [
            *HELLO,
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "ünïcödé \u2028 \U0001f600"},
        ]
    },
    "an image": {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it"}, PNG]}]},
    "an image of an unusual type": {"messages": [{"role": "user", "content": [JPG]}]},
    "a linked image": {"messages": [{"role": "user", "content": [LINK]}]},
    "a named speaker": {"messages": [{"role": "user", "name": "ann", "content": "hi"}]},
    "parts of text": {"messages": [{"role": "user", "content": [{"type": "text", "text": one} for one in "ab"]}]},
    "an empty message": {"messages": [*HELLO, {"role": "assistant", "content": ""}, *HELLO]},
    "sampling": {"temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "stop": ["a", "b"]},
    "a seed": {"seed": 7},
    "the newer limit": {"max_completion_tokens": 99},
    "penalties": {"frequency_penalty": 0.1, "presence_penalty": 0.2},
    "two choices": {"n": 2},
    "a user": {"user": "u-1"},
    "a bias": {"logit_bias": {"50256": -100}},
    "tools": {"tools": [TOOL]},
    "a strict tool": {"tools": [STRICT], "tool_choice": "auto"},
    "a tool with an odd name": {"tools": [ODD_TOOL]},
    "some tool": {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    "a certain tool": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    "no tool": {"tools": [TOOL], "tool_choice": "none"},
    "a tool's turn": {
        "messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT],
        "tools": [TOOL],
    },
    "JSON": {"response_format": {"type": "json_object"}},
    "a schema": {"response_format": SCHEMA},
    "little reasoning": {"reasoning_effort": "low"},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
    "thoughts sent back": {"messages": [*HELLO, THINKING, *HELLO]},
    "defaults": {"n": 1, "frequency_penalty": 0, "store": False, "parallel_tool_calls": True, "logprobs": False},
    "log probabilities": {"logprobs": True, "top_logprobs": 2},
    "extras of open servers": {"top_k": 5, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}},
    "a tier and a store": {"service_tier": "flex", "store": True, "metadata": {"a": "b"}},
    "web search": {"web_search_options": {"search_context_size": "low"}},
    "counts": {"stream_options": {"include_usage": True}},
}
EMBEDDINGS: Mapping[str, Mapping[str, Any]] = {
    "one": {"input": "a"},
    "two": {"input": ["a", "b"]},
    "tokens": {"input": [1, 2, 3]},
    "dimensions": {"input": "a", "dimensions": 2, "user": "u"},
    "base64": {"input": "a", "encoding_format": "base64"},
}


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each case with the request that is sent, or the fields of the error. LiteLLM must be loaded."""
    for name, spoken in MODELS.items():
        if spoken.kind is EMBEDDING:
            for asked, params in EMBEDDINGS.items():
                yield f"{name}: {asked}", _sent(spoken, params)
            continue
        for asked, params in CHATS.items():
            for streaming in (False, True):
                members = {"messages": HELLO, **params, **({"stream": True} if streaming else {})}
                if streaming or "stream_options" not in params:
                    yield f"{name}: {asked}{', streamed' * streaming}", _sent(spoken, members)


def _sent(spoken: Spoken, params: Mapping[str, Any]) -> dict[str, Any]:
    adapter = LiteLLMAdapter() if spoken.adapter is Adapter.LITELLM else DirectAdapter()
    request = embeddings_request(params) if spoken.kind is EMBEDDING else chat_request(params)
    prepare = openai_embeddings if spoken.kind is EMBEDDING else adapter.chat
    planned = _planned(spoken)
    try:
        prepared = prepare(planned, request)
    except Exception as error:  # noqa: BLE001  LiteLLM raises errors of many kinds
        fields = [one.field for one in getattr(error, "fields", ())] or parameters_named_in(error, request)
        return {"refused": sorted(fields)}
    sent: dict[str, Any] = {"url": planned.url, "body": prepared.body.decode()}
    if prepared.headers:
        sent["headers"] = dict(prepared.headers)
    if prepared.tool_names or prepared.json_tool:
        sent["taken back"] = [dict(prepared.tool_names), prepared.json_tool]
    return sent


def _planned(spoken: Spoken) -> Plan:
    row = BUILT_IN.named(spoken.provider)
    azure = spoken.provider == "azure"
    endpoint = "https://llm.example.com" if row.base_url is None else row.base_url
    receipt = Receipt(Source.TENANT, row.name, 1, "k0123456789")
    version, deployment = (spoken.api_version, "a-deployment") if azure else (None, None)
    route = Route(receipt, row, endpoint, False, version, deployment, None)
    return plan(Model("m", spoken.kind, row.name, spoken.adapter, spoken.upstream), route)
