"""The official `openai` client on every route that is relayed: with the tenant's key, the platform's, and none."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
        {"name": "claude", "litellm_model_name": "anthropic/claude-sonnet-5"},
    ],
    "moderation_models": [{"name": "our-moderation", "litellm_model_name": "openai/omni-moderation-latest"}],
    "image_models": [{"name": "our-image", "litellm_model_name": "openai/gpt-image-1"}],
    "speech_models": [{"name": "our-voice", "litellm_model_name": "openai/tts-1"}],
    "transcription_models": [{"name": "our-ear", "litellm_model_name": "openai/whisper-1"}],
    "rerank_models": [{"name": "our-ranker", "litellm_model_name": "berget/BAAI/bge-reranker-v2-m3"}],
}
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
