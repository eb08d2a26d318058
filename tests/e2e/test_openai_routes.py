"""The official `openai` client on every route that is relayed: with the tenant's key, the platform's, and none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import yaml
from aiohttp import web

from tests.support.lazily import Lazily
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served

if TYPE_CHECKING:
    import openai
else:
    openai = Lazily("openai")

TENANT, KEY, PLATFORM_KEY = str(uuid4()), f"sk-tenant-{uuid4().hex}", f"sk-global-{uuid4().hex}"
CATALOGUE: dict[str, list[dict[str, Any]]] = {
    "completion_models": [
        {"name": "our-instruct", "litellm_model_name": "openai/gpt-3.5-turbo-instruct"},
        {"name": "our-gpt", "litellm_model_name": "openai/gpt-5.1"},
        {"name": "claude", "litellm_model_name": "anthropic/claude-sonnet-5"},
    ],
    "moderation_models": [{"name": "our-moderation", "litellm_model_name": "openai/omni-moderation-latest"}],
    "image_models": [{"name": "our-image", "litellm_model_name": "openai/gpt-image-1"}],
    "speech_models": [{"name": "our-voice", "litellm_model_name": "openai/tts-1"}],
    "transcription_models": [{"name": "our-ear", "litellm_model_name": "openai/whisper-1"}],
    "rerank_models": [{"name": "our-ranker", "litellm_model_name": "berget/BAAI/bge-reranker-v2-m3"}],
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-5.1",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
EVENTS = [
    {"type": "response.created", "sequence_number": 0, "response": RESPONSE | {"status": "in_progress", "output": []}},
    {
        "type": "response.output_text.delta",
        "sequence_number": 1,
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hello",
        "logprobs": [],
    },
    {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
]
ANSWERS: dict[str, Any] = {
    "/v1/completions": {
        "id": "c",
        "object": "text_completion",
        "created": 1,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "text": "Hello"}],
    },
    "/v1/moderations": {"id": "m", "model": "omni-moderation-latest", "results": []},
    "/v1/images/generations": {"created": 1, "data": [{"b64_json": "aGk="}]},
    "/v1/images/edits": {"created": 1, "data": [{"b64_json": "aGk="}]},
    "/v1/images/variations": {"created": 1, "data": [{"b64_json": "aGk="}]},
    "/v1/audio/transcriptions": {"text": "Hello"},
    "/v1/audio/translations": {"text": "Hello"},
    "/v1/responses": RESPONSE,
    "/v1/responses/compact": {"id": "r", "object": "response.compaction", "created_at": 1, "output": []},
    "/v1/responses/resp_1": RESPONSE,
    "/v1/responses/resp_1/cancel": RESPONSE | {"status": "cancelled"},
    "/v1/responses/resp_1/input_items": {"object": "list", "data": [], "has_more": False},
    "/v1/files": {"id": "file-1", "object": "file", "filename": "a.jsonl"},
    "/v1/files/file-1": {"id": "file-1", "object": "file", "deleted": True},
    "/v1/batches": {"id": "batch_1", "object": "batch", "status": "validating"},
    "/v1/batches/batch_1/cancel": {"id": "batch_1", "object": "batch", "status": "cancelling"},
    "/v1/rerank": {"id": "r", "results": [{"index": 1, "relevance_score": 0.5}]},
}
CHUNKS = [
    {**ANSWERS["/v1/completions"], "choices": [{"index": 0, "text": "Hel", "finish_reason": None, "logprobs": None}]},
    {**ANSWERS["/v1/completions"], "choices": [{"index": 0, "text": "lo", "finish_reason": "stop", "logprobs": None}]},
]


@dataclass(frozen=True)
class Stage:
    url: str
    client: Client
    provider: NativeProvider

    def openai(self, tenant: str = TENANT) -> openai.OpenAI:
        base = f"{self.url}/api/v1/tenants/{tenant}/openai/v1"
        return openai.OpenAI(base_url=base, api_key=ADMIN_KEY, max_retries=0)


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    models = tmp_path_factory.mktemp("models") / "ai_models.yml"
    models.write_text(yaml.safe_dump(CATALOGUE), encoding="utf-8")
    with ExitStack() as stack:
        provider = stack.enter_context(native_provider())
        settings = environment(
            AI_MODELS_FILE=str(models),
            OPENAI_API_KEY=PLATFORM_KEY,
            OPENAI_API_BASE=f"{provider.url}/v1",
            BERGET_API_BASE=f"{provider.url}/v1",
            ANTHROPIC_API_BASE=provider.url,
        )
        database_url = stack.enter_context(postgres_server.fresh_database())
        url = stack.enter_context(served(database_url, settings))
        client = stack.enter_context(client_of(url))
        for name in ("openai", "berget", "anthropic"):
            assert client.put(TENANT, name, api_key=KEY).status_code == 200
        yield Stage(url, client, provider)


@pytest.fixture(autouse=True)
def quiet(stage: Stage) -> None:
    stage.provider.heard.clear()
    stage.provider.answer = _answer


async def _answer(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    if request.path == "/v1/audio/speech":
        return web.Response(body=b"\x00sound", content_type="audio/mpeg")
    if request.path == "/v1/files/file-1/content":
        return web.Response(body=b"{}\n" * 100_000, content_type="application/octet-stream")
    if "responses" in request.path and b'"stream":true' in body.replace(b" ", b""):
        said = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in EVENTS)
        return web.Response(text=said, content_type="text/event-stream")
    if b'"stream":true' not in body.replace(b" ", b""):
        return web.json_response(ANSWERS[request.path])
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS)
    return web.Response(text=text + "data: [DONE]\n\n", content_type="text/event-stream")


def _use_all(client: openai.OpenAI, *, variations: bool = True) -> None:
    assert client.completions.create(model="our-instruct", prompt="Say hello").choices[0].text == "Hello"
    streamed = client.completions.create(model="our-instruct", prompt="Say hello", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "Hello"
    assert client.moderations.create(model="our-moderation", input="hello").id == "m"
    assert client.images.generate(model="our-image", prompt="a").data
    assert client.images.edit(model="our-image", image=("a.png", b"\x89PNG"), prompt="a").data
    if variations:
        assert client.images.create_variation(model="our-image", image=("a.png", b"\x89PNG")).data
    assert client.audio.speech.create(model="our-voice", input="a", voice="alloy").content == b"\x00sound"
    sound = ("a.wav", b"\x00" * 200_000)
    assert client.audio.transcriptions.create(model="our-ear", file=sound).text == "Hello"
    assert client.audio.translations.create(model="our-ear", file=sound).text == "Hello"


def test_a_tenant_s_key_serves_every_route_under_the_provider_s_name_of_the_model(stage: Stage) -> None:
    with stage.openai() as client:
        _use_all(client)
        ranked = client.post("/rerank", body={"model": "our-ranker", "query": "a", "documents": ["b"]}, cast_to=object)
        assert ranked == ANSWERS["/v1/rerank"]
    assert {heard.headers["authorization"] for heard in stage.provider.heard} == {f"Bearer {KEY}"}
    assert not any(b"our-" in heard.body or ADMIN_KEY in str(heard.headers) for heard in stage.provider.heard)


def test_the_platform_s_key_serves_them_to_tenants_without_a_key_of_their_own(stage: Stage) -> None:
    with stage.openai(str(uuid4())) as client:
        _use_all(client)
        with pytest.raises(openai.PermissionDeniedError, match="platform's key"):
            client.completions.create(model="our-instruct", prompt="a", extra_body={"store": True})
        with pytest.raises(openai.APIStatusError, match="berget"):
            client.post("/rerank", body={"model": "our-ranker", "query": "a", "documents": ["b"]}, cast_to=object)
    assert {heard.headers["authorization"] for heard in stage.provider.heard} == {f"Bearer {PLATFORM_KEY}"}


def test_responses_are_created_streamed_and_managed_with_the_tenant_s_key(stage: Stage) -> None:
    with stage.openai() as client:
        made = client.responses.with_raw_response.create(model="our-gpt", input="hello", store=True)
        assert (made.headers["x-credential-source"], made.parse().output_text) == ("tenant", "Hello")
        streamed = list(client.responses.create(model="our-gpt", input="hello", stream=True))
        assert [event.type for event in streamed] == [event["type"] for event in EVENTS]
        assert client.responses.compact(model="our-gpt", input="hello").id == "r"
        with pytest.raises(openai.UnprocessableEntityError, match="provider: is required in the query"):
            client.responses.retrieve("resp_1")
        ours = client.with_options(default_query={"provider": "openai"})
        assert ours.responses.retrieve("resp_1").output_text == "Hello"
        assert list(ours.responses.input_items.list("resp_1")) == []
        assert ours.responses.cancel("resp_1").status == "cancelled"
        ours.responses.delete("resp_1")
        assert ours.responses.create(model="our-gpt", input="hello").output_text == "Hello"
        with pytest.raises(openai.UnprocessableEntityError, match="chat/completions"):
            client.responses.create(model="claude", input="hello")
    assert {heard.headers["authorization"] for heard in stage.provider.heard} == {f"Bearer {KEY}"}
    assert not any("provider=" in heard.target for heard in stage.provider.heard)
    assert json.loads(stage.provider.heard[0].body) == {"input": "hello", "model": "gpt-5.1", "store": True}


def test_the_platform_s_key_stores_no_response_and_reaches_no_state(stage: Stage) -> None:
    with stage.openai(str(uuid4())) as client:
        assert client.responses.create(model="our-gpt", input="hello").output_text == "Hello"
        (heard,) = stage.provider.heard
        assert json.loads(heard.body) == {"input": "hello", "model": "gpt-5.1", "store": False}
        ours = client.with_options(default_query={"provider": "openai"})
        reached: list[Callable[[], object]] = [
            lambda: ours.responses.retrieve("resp_1"),
            lambda: ours.responses.delete("resp_1"),
            lambda: ours.responses.create(model="our-gpt", input="a", previous_response_id="resp_1"),
            lambda: ours.files.list(),
            lambda: ours.files.create(file=b"{}", purpose="batch"),
            lambda: ours.files.content("file-1"),
            lambda: ours.batches.list(),
        ]
        for reach in reached:
            with pytest.raises(openai.PermissionDeniedError, match="platform's key"):
                reach()
    assert len(stage.provider.heard) == 1


def test_files_and_batches_are_the_named_provider_s(stage: Stage) -> None:
    with stage.openai().with_options(default_query={"provider": "openai"}) as client:
        body = b'{"custom_id":"1"}\n' * 100_000
        assert client.files.create(file=("a.jsonl", body), purpose="batch").id == "file-1"
        assert body in stage.provider.heard[0].body
        assert len(client.files.content("file-1").content) == 300_000
        assert client.files.delete("file-1").deleted
        made = client.batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
        assert made.id == "batch_1"
        assert client.batches.cancel("batch_1").status == "cancelling"
        with pytest.raises(openai.UnprocessableEntityError, match="berget has no files"):
            client.files.list(extra_query={"provider": "berget"})
    assert {heard.headers["authorization"] for heard in stage.provider.heard} == {f"Bearer {KEY}"}


def test_a_response_that_is_cut_off_is_an_error_to_the_client(stage: Stage) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        said = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in EVENTS[:2])
        return web.Response(text=said, content_type="text/event-stream")

    stage.provider.answer = cut
    with stage.openai() as client:
        received: list[str] = []
        with pytest.raises(openai.APIError, match="answer-cut-off"):
            for event in client.responses.create(model="our-gpt", input="hello", stream=True):
                received.append(event.type)  # noqa: PERF401  what came before the error counts
    assert received == ["response.created", "response.output_text.delta"]


def test_what_a_provider_has_not_is_refused_by_name(stage: Stage) -> None:
    with stage.openai() as client:
        with pytest.raises(openai.UnprocessableEntityError, match="model of anthropic, which has no audio/speech"):
            client.audio.speech.create(model="claude", input="a", voice="alloy")
        with pytest.raises(openai.UnprocessableEntityError, match="images/generations"):
            client.completions.create(model="our-image", prompt="a")
        with pytest.raises(openai.UnprocessableEntityError, match="audio/speech"):
            client.chat.completions.create(model="our-voice", messages=[{"role": "user", "content": "a"}])
        with pytest.raises(openai.NotFoundError, match="catalogue"):
            client.images.generate(model="dall-e-2", prompt="a")
    assert stage.provider.heard == []


def test_a_stream_that_the_provider_cuts_is_an_error_to_the_client_and_in_the_usage(stage: Stage) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"data: {json.dumps(CHUNKS[0])}\n\n", content_type="text/event-stream")

    stage.provider.answer = cut
    tenant = str(uuid4())
    with stage.openai(tenant) as client:
        received: list[str] = []
        with pytest.raises(openai.APIError, match="answer-cut-off"):
            for chunk in client.completions.create(model="our-instruct", prompt="a", stream=True):
                received.append(chunk.choices[0].text)  # noqa: PERF401  what came before the error counts
    assert received == ["Hel"]
    usage = stage.client.http.get("/api/v1/audit/usage", params={"tenant_id": tenant}).json()["usage"]
    assert [(one["calls"], one["failures"]) for one in usage] == [(1, 1)]


def test_an_access_key_for_one_model_reaches_no_other(stage: Stage) -> None:
    scope = {"models": ["our-image"], "surfaces": ["openai"], "tenants": [TENANT]}
    made = stage.client.http.post("/api/v1/sysadmin/access-keys", json={"name": "painter", "role": "runtime", **scope})
    token = made.json()["token"]
    with stage.openai().with_options(api_key=token) as client:
        assert client.images.generate(model="our-image", prompt="a").data
        stage.provider.heard.clear()
        with pytest.raises(openai.PermissionDeniedError, match="may not use this model"):
            client.audio.transcriptions.create(model="our-ear", file=("a.wav", b"\x00" * 200_000))
        with pytest.raises(openai.UnprocessableEntityError, match="models"):
            client.images.generate(model="our-image", prompt="a", extra_body={"models": ["gpt-image-2"]})
    assert stage.provider.heard == []
