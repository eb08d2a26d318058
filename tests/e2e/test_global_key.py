"""The platform's key through the whole service: the official clients do inference with it, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import yaml
from aiohttp import web

from keyledger.llm.adapters.litellm import LiteLLMAdapter
from tests.support.lazily import Lazily
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic = Lazily("anthropic")
    openai = Lazily("openai")

KEYS = {"openai": "sk-global-openai-0123456789", "anthropic": "sk-ant-global-0123456789"}
MODELS = {"openai": ["gpt-4o", "emb-1", "whisper-1", "gpt-image-1", "tts-1"], "anthropic": ["claude-sonnet-5"]}


@dataclass(frozen=True)
class Stage:
    url: str
    client: Client
    provider: NativeProvider

    def base(self, provider: str) -> str:
        """The address of a provider's API for a tenant that no one has configured."""
        return f"{self.url}/api/v1/tenants/{uuid4()}/providers/{provider}"


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    models = tmp_path_factory.mktemp("models") / "ai_models.yml"
    entries = [{"name": f"our-{name}", "litellm_model_name": f"{of}/{name}"} for of in MODELS for name in MODELS[of]]
    models.write_text(yaml.safe_dump({"completion_models": entries}), encoding="utf-8")
    asyncio.run(LiteLLMAdapter().warm_up())  # loaded by a call, it would keep the node from renewing its lease
    with ExitStack() as stack:
        provider = stack.enter_context(native_provider())
        settings = environment(
            AI_MODELS_FILE=str(models),
            OPENAI_API_KEY=KEYS["openai"],
            ANTHROPIC_API_KEY=KEYS["anthropic"],
            OPENAI_API_BASE=f"{provider.url}/v1",
            ANTHROPIC_API_BASE=provider.url,
        )
        database_url = stack.enter_context(postgres_server.fresh_database())
        url = stack.enter_context(served(database_url, settings))
        yield Stage(url, stack.enter_context(client_of(url)), provider)


@pytest.fixture(autouse=True)
def quiet(stage: Stage) -> None:
    stage.provider.heard.clear()
    stage.provider.answer = _answer


CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
}
RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4o",
    "output": [
        {
            "type": "message",
            "id": "m",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
ANSWERS: dict[str, Any] = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": RESPONSE,
    "/v1/messages": MESSAGE,
    "/v1/embeddings": {
        "object": "list",
        "model": "emb-1",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    },
    "/v1/audio/transcriptions": {"text": "Hello"},
    "/v1/images/generations": {"created": 1, "data": [{"b64_json": ""}]},
    "/v1/images/edits": {"created": 1, "data": [{"b64_json": ""}]},
}
CHUNK: dict[str, Any] = CHAT | {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "Hello"}}],
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]


async def _answer(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    if b'"stream":true' not in body.replace(b" ", b""):
        return web.json_response(ANSWERS[request.path])
    events = EVENTS if "messages" in request.path else [CHUNK]
    text = "".join(f"event: {event.get('type', 'chunk')}\ndata: {json.dumps(event)}\n\n" for event in events)
    return web.Response(text=text + ("" if events is EVENTS else "data: [DONE]\n\n"), content_type="text/event-stream")


def test_openai_s_client_has_chat_responses_embeddings_images_and_sound(stage: Stage) -> None:
    with openai.OpenAI(base_url=f"{stage.base('openai')}/v1", api_key=ADMIN_KEY, max_retries=0) as client:
        hello: list[Any] = [{"role": "user", "content": "hello"}]
        answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=hello)
        assert answer.headers["x-credential-source"] == "global"
        assert answer.parse().choices[0].message.content == "Hello"
        streamed = client.chat.completions.create(model="gpt-4o", messages=hello, stream=True)
        assert [chunk.choices[0].delta.content for chunk in streamed] == ["Hello"]
        assert client.responses.create(model="gpt-4o", input="hello").output_text == "Hello"
        assert client.embeddings.create(model="emb-1", input="a").data[0].embedding
        assert client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"\x00" * 200_000)).text == "Hello"
        assert client.images.edit(model="gpt-image-1", image=("a.png", b"\x89PNG"), prompt="a").data
    assert {heard.headers["authorization"] for heard in stage.provider.heard} == {f"Bearer {KEYS['openai']}"}
    stored = [json.loads(one.body).get("store") for one in stage.provider.heard if one.body.startswith(b"{")]
    assert stored == [False, False, False, None]


def test_anthropic_s_client_has_messages(stage: Stage) -> None:
    with anthropic.Anthropic(base_url=stage.base("anthropic"), api_key=ADMIN_KEY, max_retries=0) as client:
        asked: dict[str, Any] = {
            "model": "claude-sonnet-5",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "hello"}],
        }
        assert client.messages.create(**asked).content[0].type == "text"
        with client.messages.stream(**asked) as stream:
            assert "".join(stream.text_stream) == "Hello"
        assert client.beta.messages.create(**asked, betas=["context-1m-2025-08-07"]).content[0].type == "text"
    assert [heard.headers["x-api-key"] for heard in stage.provider.heard] == [KEYS["anthropic"]] * 3
    assert stage.provider.heard[-1].headers["anthropic-beta"] == "context-1m-2025-08-07"


def test_the_clients_show_why_a_call_is_refused(stage: Stage) -> None:
    with openai.OpenAI(base_url=f"{stage.base('openai')}/v1", api_key=ADMIN_KEY, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError, match="NATIVE_GLOBAL_ROUTES"):
            client.models.list()
        with pytest.raises(openai.PermissionDeniedError, match="previous_response_id"):
            client.responses.create(model="gpt-4o", input="a", previous_response_id="resp_1")
        with pytest.raises(openai.NotFoundError, match="catalogue"):
            client.responses.create(model="o1", input="a")
        with pytest.raises(openai.PermissionDeniedError, match="platform's key"):
            client.files.create(file=b"{}", purpose="batch")
    assert stage.provider.heard == []


REFUSED: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "the members of the account": ("GET", "v1/organization/users", {}, 403, "account-route-closed"),
    "files": ("GET", "v1/files", {}, 403, "global-key-not-allowed"),
    "a cancelled response": ("POST", "v1/responses/r/cancel", {}, 403, "global-key-not-allowed"),
    "a model outside the catalogue": ("POST", "v1/responses", {"json": {"model": "o1"}}, 404, "unknown-model"),
    "no model": ("POST", "v1/responses", {"json": {"input": "a"}}, 422, "invalid-request"),
    "a stored response": (
        "POST",
        "v1/responses",
        {"json": {"model": "gpt-4o", "store": True}},
        403,
        "global-key-not-allowed",
    ),
    "a model twice": (
        "POST",
        "v1/responses",
        {"content": b'{"model":"gpt-4o","model":"o1"}', "headers": {"content-type": "application/json"}},
        400,
        "malformed-json",
    ),
    "a body of another type": ("POST", "v1/responses", {"content": b"{}"}, 422, "invalid-request"),
    "a body over 8 MiB": (
        "POST",
        "v1/responses",
        {"content": b" " * (8 * 2**20 + 1), "headers": {"content-type": "application/json"}},
        413,
        "body-too-large",
    ),
}


@pytest.mark.parametrize("named", REFUSED)
def test_a_call_that_is_refused_sends_nothing(stage: Stage, named: str) -> None:
    method, path, more, status, code = REFUSED[named]
    answer = stage.client.native(str(uuid4()), "openai", path, method, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["error"]["code"] == code
    assert "x-credential-source" not in answer.headers
    assert stage.provider.heard == []


def test_a_long_recording_whose_second_model_comes_later_never_arrives_whole(stage: Stage) -> None:
    arrived: list[bytes] = []

    async def read(request: web.Request) -> web.StreamResponse:
        arrived.append(await request.read())
        return web.json_response({"text": "Hello"})

    stage.provider.answer = read

    def part(name: str, value: bytes, more: str = "") -> bytes:
        return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"

    body = part("model", b"whisper-1") + part("file", b"\x00" * 900_000, '; filename="a.wav"')
    headers = {"content-type": "multipart/form-data; boundary=B"}
    for more, status in ((part("model", b"o1"), 422), (b"", 200)):
        answer = stage.client.native(
            str(uuid4()), "openai", "v1/audio/transcriptions", content=body + more + b"--B--\r\n", headers=headers
        )
        assert answer.status_code == status, answer.text
        assert len(arrived) == (1 if status == 200 else 0)


def test_the_calls_are_counted(stage: Stage) -> None:
    tenant = str(uuid4())
    body = {"model": "gpt-4o", "messages": []}
    for _ in range(2):
        assert stage.client.native(tenant, "openai", "v1/chat/completions", json=body).status_code == 200
    stage.client.native(tenant, "openai", "v1/files", "GET")
    usage = stage.client.http.get("/api/v1/audit/usage", params={"tenant_id": tenant}).json()["usage"]
    assert [(one["provider"], one["version"], one["calls"], one["failures"]) for one in usage] == [("openai", 0, 2, 0)]
    metrics = stage.client.http.get("/metrics").text
    assert 'keyledger_credential_resolutions_total{outcome="served",provider="openai",source="global"}' in metrics
    assert 'outcome="global-key-not-allowed",provider="openai"' in metrics


def test_a_tenants_own_key_still_reaches_everything_but_the_account(stage: Stage) -> None:
    tenant = str(uuid4())
    assert stage.client.put(tenant, "openai", api_key="sk-own-0123456789").status_code == 200

    async def hello(request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    stage.provider.answer = hello
    body = {"model": "o1", "store": True, "background": True}
    assert stage.client.native(tenant, "openai", "v1/responses", json=body).status_code == 200
    assert stage.client.native(tenant, "openai", "v1/files", "GET").status_code == 200
    closed = stage.client.native(tenant, "openai", "v1/organization/admin_api_keys", "GET")
    assert (closed.status_code, closed.json()["code"]) == (403, "account-route-closed")
    assert [heard.headers["authorization"] for heard in stage.provider.heard] == ["Bearer sk-own-0123456789"] * 2
    assert json.loads(stage.provider.heard[0].body) == body
