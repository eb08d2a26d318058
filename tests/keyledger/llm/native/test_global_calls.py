"""The platform's key on a provider's own API calls models of the catalogue, on inference routes, without state."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.front.json_structure import CONTAINERS_MAX
from domain.calls.native import NativeCall
from domain.credentials.built_in_providers import BUILT_IN
from domain.errors import ErrorCode, InvalidRequestError, NotFoundError
from keyledger.llm.requests.inference_routes import KEEPING_STATE, ROUTES
from tests.keyledger.llm.native.global_rig import JSON, NAMES, Rig, Sent, asked, chat, message, post
from tests.keyledger.llm.rig import KEY, TENANT, Keys
from tests.support.native_provider import NativeProvider, native_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[NativeProvider]:
    with native_provider() as running:
        yield running


@pytest.fixture
def rig(provider: NativeProvider) -> Rig:
    return Rig(provider)


EMBEDDINGS = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8}
IMAGE = {"model": "gpt-image-1", "prompt": "a cat", "background": "transparent", "n": 1}

ADMITTED = {
    "chat": (post("v1/chat/completions", chat(temperature=0.5, stream=True)), "/openai/v1/chat/completions"),
    "chat without the version": (post("chat/completions", chat()), "/openai/v1/chat/completions"),
    "chat with tools": (
        post("v1/chat/completions", chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])),
        "/openai/v1/chat/completions",
    ),
    "completions": (post("v1/completions", {"model": "gpt-4o", "prompt": "hi"}), "/openai/v1/completions"),
    "responses": (post("v1/responses", asked(reasoning={"effort": "low"})), "/openai/v1/responses"),
    "embeddings": (post("v1/embeddings", EMBEDDINGS), "/openai/v1/embeddings"),
    "rerank": (
        post("v1/rerank", {"model": "rerank-1", "query": "q", "documents": [{"text": "d", "product_id": "p"}]}),
        "/openai/v1/rerank",
    ),
    "images": (post("v1/images/generations", IMAGE), "/openai/v1/images/generations"),
    "speech": (
        post("v1/audio/speech", {"model": "tts-1", "input": "hi", "voice": "alloy"}),
        "/openai/v1/audio/speech",
    ),
    "a pattern's model": (post("v1/chat/completions", chat(model="o-3-mini")), "/openai/v1/chat/completions"),
    "messages": (post("v1/messages", message(), "anthropic"), "/anthropic/v1/messages"),
    "messages with ?beta=true": (
        post("v1/messages", message(), "anthropic", query="beta=true"),
        "/anthropic/v1/messages?beta=true",
    ),
    "a model of vLLM": (post("v1/chat/completions", chat(model="Qwen/Qwen3-8B"), "vllm"), "/vllm/v1/chat/completions"),
    "Azure's deployment": (
        post("openai/deployments/any/chat/completions", chat(model="any"), "azure", query="api-version=2020-01-01"),
        "/azure/openai/deployments/dep-1/chat/completions?api-version=2024-10-21",
    ),
    "Azure's responses": (
        post("openai/responses", asked(model="dep-2"), "azure"),
        "/azure/openai/responses?api-version=2024-10-21",
    ),
}


@pytest.mark.parametrize("named", ADMITTED)
def test_inference_with_a_model_of_the_catalogue_is_sent_with_the_platform_s_key(rig: Rig, named: str) -> None:
    call, target = ADMITTED[named]
    heard = rig.sent(call)
    assert heard.target == target
    assert KEY in "".join(heard.headers.values())
    assert isinstance(call.body, bytes)
    sent, given = json.loads(heard.body), json.loads(call.body)
    assert {**sent, "store": None} == {**given, "store": None}
    assert heard.headers["content-type"] == "application/json"


ROUTES_REFUSED = [
    ("GET", "v1/models"),
    ("HEAD", "v1/models"),
    ("OPTIONS", "v1/chat/completions"),
    ("GET", "v1/chat/completions"),
    ("DELETE", "v1/chat/completions/chatcmpl-1"),
    ("POST", "v1/chat/completions/chatcmpl-1"),
    ("GET", "v1/chat/completions/chatcmpl-1/messages"),
    ("GET", "v1/responses/resp_1"),
    ("DELETE", "v1/responses/resp_1"),
    ("POST", "v1/responses/resp_1/cancel"),
    ("GET", "v1/responses/resp_1/input_items"),
    ("POST", "v1/responses/compact"),
    ("POST", "v1/responses/input_tokens"),
    ("POST", "v1/conversations"),
    ("GET", "v1/files"),
    ("POST", "v1/files"),
    ("GET", "v1/files/x/content"),
    ("DELETE", "v1/files/x"),
    ("POST", "v1/uploads"),
    ("GET", "v1/batches"),
    ("POST", "v1/batches"),
    ("POST", "v1/batches/b/cancel"),
    ("POST", "v1/fine_tuning/jobs"),
    ("GET", "v1/fine_tuning/jobs"),
    ("POST", "v1/assistants"),
    ("POST", "v1/threads"),
    ("POST", "v1/threads/runs"),
    ("POST", "v1/vector_stores"),
    ("POST", "v1/containers"),
    ("GET", "v1/containers/c/files/f/content"),
    ("POST", "v1/evals"),
    ("POST", "v1/moderations"),
    ("POST", "v1/realtime/sessions"),
    ("POST", "v1/audio/voices"),
    ("POST", "v1/videos"),
    ("POST", "v1/messages/batches"),
    ("POST", "v1/agents/completions"),
    ("POST", "v1/Chat/Completions"),
    ("POST", "v1/chat/completions/"),
    ("POST", "v1/chat%2Fcompletions"),
    ("POST", "v1/chat/completions;x=1"),
    ("POST", "v1/v1/chat/completions"),
    ("POST", "v2/chat/completions"),
    ("POST", "deployments/x/chat/completions"),
    ("PUT", "v1/chat/completions"),
    ("PATCH", "v1/chat/completions"),
    ("POST", "v1"),
    ("POST", "anything"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES_REFUSED)
def test_everything_else_is_refused_before_anything_is_sent(rig: Rig, method: str, path: str) -> None:
    for name, body in (("openai", chat()), ("anthropic", message())):
        call = replace(post(path, body if method == "POST" else b"", name), method=method)
        error = rig.refused(call)
        assert error.code == ErrorCode.GLOBAL_KEY_NOT_ALLOWED, error
        assert "NATIVE_GLOBAL_ROUTES" in error.detail
        assert "Set the tenant's own" in error.detail


MODELS_REFUSED = [
    *(
        "gpt-4o-mini",
        "GPT-4o",
        "gpt-4o ",
        " gpt-4o",
        "our-gpt-4o",
        "openai/gpt-4o",
        "ft:gpt-4o:org::1",
        "o-",
        "",
        "o-*",
    ),
    *("claude-sonnet-5", "gpt-4o\0", "o-a b", "\uff47pt-4o", "gpt-4o:online", "*"),
]


@pytest.mark.parametrize("model", MODELS_REFUSED)
def test_a_model_that_the_catalogue_does_not_have_for_the_provider_is_refused(rig: Rig, model: str) -> None:
    error = rig.refused(post("v1/chat/completions", chat(model=model)))
    assert isinstance(error, NotFoundError)
    assert error.code == ErrorCode.UNKNOWN_MODEL
    assert "test_models.yml" in error.detail


@pytest.mark.parametrize("model", [None, 1, True, ["gpt-4o"], {"id": "gpt-4o"}])
def test_a_model_that_is_not_a_text_is_refused(rig: Rig, model: Any) -> None:
    assert "model" in rig.refused(post("v1/chat/completions", chat(model=model))).detail


def test_a_body_without_a_model_is_refused(rig: Rig) -> None:
    assert "model: is required" in rig.refused(post("v1/images/generations", {"prompt": "a cat"})).detail


AZURE_REFUSED = {
    "a model of no deployment": post("openai/v1/responses", asked(model="gpt-4o"), "azure"),
    "an image deployment in a header": post(
        "openai/responses",
        asked(model="dep-1", tools=[{"type": "image_generation"}]),
        "azure",
        headers=[*JSON, (b"x-ms-oai-image-generation-deployment", b"image-1")],
    ),
    "the caller's own data sources": post(
        "openai/deployments/dep-1/chat/completions", chat(data_sources=[{"type": "azure_search"}]), "azure"
    ),
}


@pytest.mark.parametrize("named", AZURE_REFUSED)
def test_azure_s_other_deployments_are_refused(rig: Rig, named: str) -> None:
    rig.refused(AZURE_REFUSED[named])


def test_a_deployment_of_an_empty_catalogue_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "azure", ())
    assert rig.refused(post("openai/deployments/dep-1/chat/completions", chat(), "azure")).code == "unknown-model"


TEXTS_REFUSED = {
    "a model twice": b'{"model":"gpt-4o","model":"o1","messages":[]}',
    "a model twice, escaped": b'{"\\u006dodel":"o1","model":"gpt-4o","messages":[]}',
    "a model in capitals as well": b'{"model":"gpt-4o","Model":"o1","messages":[]}',
    "a model with the Kelvin sign's kin": '{"model":"gpt-4o","\u017ftore":true,"messages":[]}'.encode(),
    "a model in fullwidth letters": '{"model":"gpt-4o","\uff4dodel":"o1","messages":[]}'.encode(),
    "a name that ends early in C": b'{"model":"gpt-4o","model\\u0000":"o1","messages":[]}',
    "a name with half a surrogate": b'{"model":"gpt-4o","model\\ud800":"o1","messages":[]}',
    "a nested member twice": b'{"model":"gpt-4o","messages":[{"role":"user","content":"a","content":"b"}]}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"gpt-4o","messages":[]}',
    "UTF-16": '{"model":"gpt-4o","messages":[]}'.encode("utf-16"),
    "Latin-1": '{"model":"gpt-4o","messages":["é"]}'.encode("latin-1"),
    "NaN": b'{"model":"gpt-4o","messages":[],"seed":NaN}',
    "a number that is infinite": b'{"model":"gpt-4o","messages":[],"seed":1e999}',
    "comments": b'{"model":"gpt-4o",/* "x":1, */"messages":[]}',
    "a second value": b'{"model":"gpt-4o","messages":[]}{"model":"o1"}',
    "a list": b'[{"model":"gpt-4o"}]',
    "a text": b'"gpt-4o"',
    "nothing": b"",
    "single quotes": b"{'model':'gpt-4o'}",
    "a control character": b'{"model":"gpt-4o","messages":["\x01"]}',
    "a comma at the end": b'{"model":"gpt-4o","messages":[],}',
    "depth": b'{"model":"gpt-4o","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("named", TEXTS_REFUSED)
def test_a_body_that_two_parsers_could_read_differently_is_refused(rig: Rig, named: str) -> None:
    whole = post("v1/chat/completions", TEXTS_REFUSED[named])
    rig.refused(whole, replace(whole, body=Sent([TEXTS_REFUSED[named][:9], TEXTS_REFUSED[named][9:]])))


TYPES_REFUSED: dict[str, list[tuple[bytes, bytes]]] = {
    "none": [],
    "twice": [*JSON, (b"content-type", b"text/plain")],
    "twice the same": [*JSON, *JSON],
    "two in one": [(b"content-type", b"application/json, text/plain")],
    "text": [(b"content-type", b"text/plain")],
    "a form": [(b"content-type", b"application/x-www-form-urlencoded")],
    "multipart on a JSON route": [(b"content-type", b"multipart/form-data; boundary=x")],
    "another charset": [(b"content-type", b"application/json; charset=utf-16")],
    "utf-7": [(b"content-type", b"application/json; charset=utf-7")],
    "two charsets": [(b"content-type", b"application/json; charset=utf-8; charset=utf-7")],
    "merge patch": [(b"content-type", b"application/merge-patch+json")],
    "compressed": [*JSON, (b"content-encoding", b"gzip")],
    "compressed the second time": [*JSON, (b"content-encoding", b"identity"), (b"content-encoding", b"br")],
}


@pytest.mark.parametrize("named", TYPES_REFUSED)
def test_a_media_type_that_two_servers_could_read_differently_is_refused(rig: Rig, named: str) -> None:
    error = rig.refused(post("v1/chat/completions", chat(), headers=TYPES_REFUSED[named]))
    assert isinstance(error, InvalidRequestError)


@pytest.mark.parametrize("given", [b"application/json", b'Application/JSON; charset="UTF-8"'])
def test_the_media_type_is_written_again(rig: Rig, given: bytes) -> None:
    heard = rig.sent(post("v1/chat/completions", chat(), headers=[(b"content-type", given)]))
    assert heard.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "query", ["model=o1", "beta=true&model=o1", "api-version=2020;model=x", "beta=false", "%62eta=true", "x", "&"]
)
def test_query_parameters_that_could_choose_something_are_refused(rig: Rig, query: str) -> None:
    rig.refused(post("v1/chat/completions", chat(), query=query))


def test_headers_of_the_caller_choose_nothing(rig: Rig) -> None:
    chosen = [
        "x-model",
        "idempotency-key",
        "x-stainless-lang",
        "anthropic-workspace-id",
        "helicone-property-x",
        "prefer",
    ]
    given = [(name.encode(), b"chosen") for name in chosen]
    heard = rig.sent(post("v1/messages", message(), "anthropic", headers=[*JSON, (b"anthropic-beta", b"b"), *given]))
    assert heard.headers["anthropic-beta"] == "b"
    assert heard.headers["anthropic-version"]
    assert not set(chosen) & set(heard.headers)


def item(**members: Any) -> dict[str, Any]:
    return asked(input=[{"role": "user", "content": "hi"}, members])


def block(**members: Any) -> dict[str, Any]:
    return message(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}, members]}])


STATE: dict[str, tuple[str, dict[str, Any]]] = {
    "store": ("v1/responses", asked(store=True)),
    "store as null, which the provider takes for true": ("v1/responses", asked(store=None)),
    "store as a text": ("v1/responses", asked(store="false")),
    "store as a number": ("v1/responses", asked(store=0)),
    "store in chat": ("v1/chat/completions", chat(store=True)),
    "store in capitals": ("v1/chat/completions", chat(STORE=True)),
    "background": ("v1/responses", asked(background=True)),
    "background as a number": ("v1/responses", asked(background=1)),
    "previous_response_id": ("v1/responses", asked(previous_response_id="resp_1")),
    "conversation": ("v1/responses", asked(conversation="conv_1")),
    "conversation as an object": ("v1/responses", asked(conversation={"id": "conv_1"})),
    "prompt": ("v1/responses", asked(prompt={"id": "pmpt_1"})),
    "an input file": ("v1/responses", item(role="user", content=[{"type": "input_file", "file_id": "file-1"}])),
    "an input image": ("v1/responses", item(role="user", content=[{"type": "input_image", "file_id": "file-1"}])),
    "an item reference": ("v1/responses", item(type="item_reference", id="msg_1")),
    "an item reference without its type": ("v1/responses", item(id="msg_1")),
    "an item reference of null type": ("v1/responses", item(id="msg_1", type=None)),
    "reasoning by its id": ("v1/responses", item(type="reasoning", id="rs_1", summary=[])),
    "an image by its id": ("v1/responses", item(type="image_generation_call", id="ig_1", status="completed")),
    "a message by its id": ("v1/responses", item(type="message", id="msg_1", role="assistant")),
    "a screenshot by its id": (
        "v1/responses",
        item(type="computer_call_output", call_id="c", output={"type": "computer_screenshot", "file_id": "file-1"}),
    ),
    "file search": ("v1/responses", asked(tools=[{"type": "file_search", "vector_store_ids": ["vs_1"]}])),
    "code interpreter": ("v1/responses", asked(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])),
    "a container of the code interpreter": (
        "v1/responses",
        asked(tools=[{"type": "code_interpreter", "container": "cntr_1"}]),
    ),
    "a remote MCP server": ("v1/responses", asked(tools=[{"type": "mcp", "server_label": "a", "server_url": "b"}])),
    "a connector": ("v1/responses", asked(tools=[{"type": "mcp", "connector_id": "connector_gmail"}])),
    "a hosted shell": ("v1/responses", asked(tools=[{"type": "shell"}])),
    "tools in an item": ("v1/responses", item(type="additional_tools", role="developer", tools=[{"type": "mcp"}])),
    "tools in a namespace": (
        "v1/responses",
        asked(tools=[{"type": "namespace", "name": "n", "tools": [{"type": "code_interpreter"}]}]),
    ),
    "an image model that is not named": ("v1/responses", asked(tools=[{"type": "image_generation"}])),
    "an image model outside the catalogue": (
        "v1/responses",
        asked(tools=[{"type": "image_generation", "model": "gpt-image-9"}]),
    ),
    "a moderation model outside the catalogue": ("v1/responses", asked(moderation={"model": "omni-moderation"})),
    "a tool that is not known": ("v1/responses", asked(tools=[{"type": "remember_everything"}])),
    "a file in a chat": (
        "v1/chat/completions",
        chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]),
    ),
    "a file with its name in capitals": (
        "v1/chat/completions",
        chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"FILE_ID": "file-1"}}]}]),
    ),
    "a file in camel case": (
        "v1/chat/completions",
        chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"fileId": "file-1"}}]}]),
    ),
    "a file on the provider's disk": (
        "v1/chat/completions",
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/x"}}]}]),
    ),
    "an image in a bucket": ("v1/responses", item(type="input_image", image_url="gs://bucket/a.png")),
    "a file with a hyphen": ("v1/responses", item(type="input_file", **{"file-id": "file-1"})),
    "earlier sound": ("v1/chat/completions", chat(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}])),
    "other models": ("v1/chat/completions", chat(models=["o1"])),
    "fallbacks": ("v1/messages", message(fallbacks=[{"model": "claude-opus-5"}])),
    "Google's cached content": ("v1/chat/completions", chat(extra_body={"google": {"cached_content": "c"}})),
    "an image to edit": ("v1/images/edits", {**IMAGE, "images": [{"file_id": "file-1"}]}),
    "a voice of the account": ("v1/audio/speech", {"model": "tts-1", "input": "hi", "voice": {"id": "voice_1"}}),
    "a file to transcribe": ("v1/audio/transcriptions", {"model": "whisper-1", "file_id": "file-1"}),
    "a thread": ("v1/messages", message(thread={"type": "create"})),
    "a container": ("v1/messages", message(container="container_1")),
    "skills": ("v1/messages", message(container={"skills": [{"type": "custom", "skill_id": "s"}]})),
    "MCP servers": ("v1/messages", message(mcp_servers=[{"type": "url", "url": "https://x.example", "name": "x"}])),
    "a document": ("v1/messages", block(type="document", source={"type": "file", "file_id": "file_1"})),
    "an image": ("v1/messages", block(type="image", source={"type": "file", "file_id": "file_1"})),
    "an upload": ("v1/messages", block(type="container_upload", file_id="file_1")),
    "code execution": ("v1/messages", message(tools=[{"type": "code_execution_20250825", "name": "code_execution"}])),
    "an MCP toolset": ("v1/messages", message(tools=[{"type": "mcp_toolset", "mcp_server_name": "x"}])),
    "an advisor outside the catalogue": (
        "v1/messages",
        message(tools=[{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}]),
    ),
    "diagnostics": ("v1/messages", message(diagnostics={"previous_message_id": "msg_1"})),
    "an earlier sound": (
        "v1/chat/completions",
        chat(messages=[{"role": "assistant", "audio": {"id": "audio_1", "role": "user", "content": "x"}}]),
    ),
    "an earlier message by a name": ("v1/responses", asked(input=[{"type": "message", "id": "msg_1", "name": "x"}])),
    "an address in camel case": ("v1/messages", message(system=[{"type": "text", "text": "", "fileUri": "gs://b/f"}])),
    "addresses in a list": ("v1/messages", message(system=[{"type": "text", "text": "", "image_urls": ["gs://b/f"]}])),
    "a member that is not known yet": ("v1/messages", message(remember=True)),
}


@pytest.mark.parametrize("named", STATE)
def test_what_leaves_or_reaches_state_in_the_account_is_refused_by_its_name(rig: Rig, named: str) -> None:
    path, body = STATE[named]
    error = rig.refused(post(path, body, "anthropic" if path == "v1/messages" else "openai"))
    assert error.code == ErrorCode.GLOBAL_KEY_NOT_ALLOWED
    plain = asked() | chat() | message() | IMAGE
    (field,) = error.fields
    assert field.field in body
    assert field.field not in plain or body[field.field] != plain[field.field]
    assert field.field in error.detail


def test_null_is_nothing(rig: Rig) -> None:
    rig.sent(post("v1/responses", asked(background=None, **dict.fromkeys(KEEPING_STATE - {"store"}))))


STATELESS: dict[str, tuple[str, dict[str, Any]]] = {
    "an answer sent back": (
        "v1/responses",
        asked(
            input=[
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
                {
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": ""}],
                },
                {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""},
                {"type": "function_call_output", "call_id": "c", "output": "{}"},
            ],
            include=["reasoning.encrypted_content"],
            store=False,
        ),
    ),
    "a schema with a property that is called file_id": (
        "v1/responses",
        asked(
            tools=[
                {
                    "type": "function",
                    "name": "f",
                    "parameters": {"type": "object", "properties": {"file_id": {"type": "string", "default": "x"}}},
                }
            ],
            metadata={"order_id": "1", "file_id": "2"},
        ),
    ),
    "tool calls of a chat": (
        "v1/chat/completions",
        chat(
            messages=[
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ]
        ),
    ),
    "tool use of Anthropic's": (
        "v1/messages",
        message(
            messages=[
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "mine"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]},
            ],
            tools=[{"name": "f", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}],
            metadata={"user_id": "u"},
        ),
    ),
    "an image model of the catalogue": (
        "v1/responses",
        asked(tools=[{"type": "image_generation", "model": "gpt-image-1"}, {"type": "web_search"}]),
    ),
}


@pytest.mark.parametrize("named", STATELESS)
def test_what_is_complete_in_itself_passes(rig: Rig, named: str) -> None:
    path, body = STATELESS[named]
    heard = rig.sent(post(path, body, "anthropic" if path == "v1/messages" else "openai"))
    assert {**json.loads(heard.body), "store": None} == {**body, "store": None}


STORING = [
    ("openai", "v1/responses", asked(), True),
    ("openai", "v1/chat/completions", chat(), True),
    ("openai", "v1/responses", asked(store=False), True),
    ("openai", "v1/completions", {"model": "gpt-4o", "prompt": "a"}, False),
    ("openai", "v1/embeddings", EMBEDDINGS, False),
    ("azure", "openai/responses", asked(model="dep-1"), True),
    ("azure", "openai/v1/chat/completions", chat(), False),
    ("vllm", "v1/responses", asked(model="Qwen/Qwen3-8B"), True),
    ("vllm", "v1/chat/completions", chat(model="Qwen/Qwen3-8B"), False),
    ("anthropic", "v1/messages", message(), False),
]


@pytest.mark.parametrize(("name", "path", "body", "off"), STORING)
def test_store_goes_as_false_where_its_absence_means_true(
    rig: Rig, name: str, path: str, body: dict[str, Any], off: bool
) -> None:
    heard = rig.sent(post(path, body, name))
    assert json.loads(heard.body) == ({**body, "store": False} if off else body)


def test_a_body_keeps_its_text_with_all_digits(rig: Rig) -> None:
    text = b' {"model" : "gpt-4o", "temperature":0.10000000000000000001, "seed":1.0e5,"messages":[{"role":"user",'
    text += b'"content":"\\u00e9\\/\xc3\xa9"}]} '
    assert rig.sent(post("v1/chat/completions", text)).body == text.replace(b"{", b'{"store":false,', 1)


def test_a_long_body_is_read_whole_before_anything_is_sent(rig: Rig) -> None:
    text = json.dumps(chat(messages=[{"role": "user", "content": "x" * 700_000}])).encode()
    pieces = Sent([text[start : start + 65_536] for start in range(0, len(text), 65_536)])
    heard = rig.sent(replace(post("v1/chat/completions", b""), body=pieces, length=len(text)))
    assert json.loads(heard.body)["messages"] == json.loads(text)["messages"]
    assert heard.headers["content-length"] == str(len(heard.body))
    last = text[:-1] + b',"store":true}'
    rig.refused(replace(post("v1/chat/completions", b""), body=Sent([last[:99], last[99:]]), length=len(last)))


def test_a_long_body_with_too_much_structure_is_refused_before_it_is_parsed(rig: Rig) -> None:
    text = json.dumps(chat(messages=[{} for _ in range(CONTAINERS_MAX)])).encode()
    error = rig.refused(replace(post("v1/chat/completions", b""), body=Sent([text]), length=len(text)))
    assert f"at most {CONTAINERS_MAX} objects and lists" in str(error.fields)


OPENED = [
    ("openai:GET:v1/models", NativeCall(TENANT, "openai", "GET", "v1/models")),
    ("openai:GET:models", NativeCall(TENANT, "openai", "GET", "v1/models")),
    ("openai:GET:v1/models/*", NativeCall(TENANT, "openai", "GET", "models/gpt-4o")),
    ("openai:*:v1/files/**", NativeCall(TENANT, "openai", "DELETE", "v1/files/x")),
    ("anthropic:post:v1/messages/count_tokens", post("v1/messages/count_tokens", message(model="any"), "anthropic")),
    ("openai:POST:v1/responses", post("v1/responses", asked(model="any", store=True))),
    ("azure:GET:openai/models", NativeCall(TENANT, "azure", "GET", "openai/models")),
]


@pytest.mark.parametrize(("entry", "call"), OPENED)
def test_an_opened_route_is_called_as_it_is(provider: NativeProvider, entry: str, call: NativeCall) -> None:
    heard = Rig(provider, opened=(entry,)).sent(call)
    assert heard.body == call.body


NOT_OPENED = [
    ("openai:GET:v1/models", NativeCall(TENANT, "openai", "DELETE", "v1/models")),
    ("openai:GET:v1/models", NativeCall(TENANT, "openai", "GET", "v1/models/x")),
    ("openai:GET:v1/models", NativeCall(TENANT, "vllm", "GET", "v1/models")),
    ("openai:GET:v1/models/*", NativeCall(TENANT, "openai", "GET", "v1/models")),
    ("openai:GET:v1/models/*", NativeCall(TENANT, "openai", "GET", "v1/models/x/y")),
    ("openai:GET:v1/models/*", NativeCall(TENANT, "openai", "GET", "v1/models/")),
    ("openai:GET:v1/files/**", NativeCall(TENANT, "openai", "GET", "v1/files")),
    ("openai:GET:v1/organization/**", NativeCall(TENANT, "openai", "GET", "v1/organization/costs")),
]


@pytest.mark.parametrize(("entry", "call"), NOT_OPENED)
def test_an_entry_opens_nothing_but_its_route(provider: NativeProvider, entry: str, call: NativeCall) -> None:
    Rig(provider, opened=(entry,)).refused(call)


@pytest.mark.parametrize("path", ["v1/files", "v1/organization/costs"])
def test_a_tenant_s_own_key_is_limited_on_account_routes_only(provider: NativeProvider, path: str) -> None:
    rig = Rig(provider, keys=Keys)
    provider.heard.clear()
    call = NativeCall(TENANT, "openai", "GET", path, "x=1", [(b"idempotency-key", b"i")])
    outcome = rig.one(call)
    if path == "v1/files":
        (heard,) = provider.heard
        assert (heard.target, heard.headers["idempotency-key"]) == ("/openai/v1/files?x=1", "i")
    else:
        assert provider.heard == []
        assert getattr(outcome, "code", None) == ErrorCode.ACCOUNT_ROUTE_CLOSED


@pytest.mark.parametrize("keys", [Keys, None])
def test_opened_account_routes_need_both_settings_for_the_platform_s_key(
    provider: NativeProvider, keys: type[Keys] | None
) -> None:
    call = NativeCall(TENANT, "openai", "GET", "v1/organization/costs")
    provider.heard.clear()
    if keys is not None:
        Rig(provider, account_routes=True, keys=keys).one(call)
    else:
        Rig(provider, account_routes=True).refused(call)
        Rig(provider, account_routes=True, opened=("openai:GET:v1/organization/costs",)).one(call)
    assert len(provider.heard) == 1


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
PATHS = st.lists(
    st.sampled_from([*(part for route in ROUTES for part in (route, *route.split("/"))), "v1", "files", "models", "x"]),
    min_size=1,
    max_size=3,
).map("/".join)
VALUES = st.sampled_from([True, False, None, "gpt-4o", "o1", "id_1", {"id": "x"}, [{"file_id": "f"}], [], 1])
BODIES = st.dictionaries(
    st.sampled_from(["model", "Model", "store", "messages", "input", "tools", "conversation", "prompt", "x_id", "n"]),
    VALUES,
)


@settings(max_examples=300, deadline=None)
@given(METHODS, st.one_of(PATHS, st.sampled_from(sorted(ROUTES))), BODIES, st.sampled_from(sorted(BUILT_IN)))
def test_no_generated_request_leaves_with_the_platform_s_key_outside_the_rules(
    provider: NativeProvider, method: str, path: str, body: dict[str, Any], name: str
) -> None:
    provider.heard.clear()
    Rig(provider).run(replace(post(path, body, name), method=method))
    for heard in provider.heard:
        sent = json.loads(heard.body)
        operation = next((one for one in ROUTES if heard.target.partition("?")[0].endswith(f"/{one}")), None)
        assert heard.method == "POST"
        assert operation is not None
        assert name == "azure" or sent["model"] in NAMES[name]
        assert sent.get("store", False) is False
        assert set(sent) <= ROUTES[operation].members
        assert not {"file_id", "x_id", "id"} & set(str(sent).replace("'", " ").split())
        assert sent.get("conversation") is None
