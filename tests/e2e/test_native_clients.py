"""The official `openai` and `anthropic` clients work unmodified against the providers' own APIs: they are given a base
URL and a key of the service, nothing else."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.canary import leaks
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


TENANT, OTHER = str(uuid4()), str(uuid4())
KEY = f"sk-tenant-{uuid4().hex}"
SOUND = os.urandom(700_000)


@dataclass(frozen=True)
class Stage:
    url: str
    client: Client
    provider: StandInProvider
    files: NativeProvider

    def base(self, provider: str, tenant: str = TENANT) -> str:
        return f"{self.url}/api/v1/tenants/{tenant}/providers/{provider}"


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted={KEY}))
        files = stack.enter_context(native_provider())
        database_url = stack.enter_context(postgres_server.fresh_database())
        settings = environment(
            OPENAI_API_BASE=f"{provider.url}/v1",
            ANTHROPIC_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=f"{urlsplit(provider.url).netloc},{urlsplit(files.url).netloc}",
        )
        url = stack.enter_context(served(database_url, settings))
        client = stack.enter_context(client_of(url))
        for name in ("openai", "anthropic"):
            assert client.put(TENANT, name, api_key=KEY).status_code == 200
        deployed = {"endpoint": provider.url, "api_version": "2024-10-21", "deployment_name": "dep-1"}
        assert client.put(TENANT, "azure", api_key=KEY, **deployed).status_code == 200
        assert client.put(OTHER, "openai", api_key=KEY, endpoint=f"{files.url}/v1").status_code == 200
        yield Stage(url, client, provider, files)


@pytest.fixture(autouse=True)
def quiet(stage: Stage) -> None:
    stage.provider.forget()
    stage.files.heard.clear()


@pytest.fixture(params=["/v1", ""], ids=["with the version", "without"])
def chat(request: pytest.FixtureRequest, stage: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stage.base("openai") + request.param, api_key=ADMIN_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(stage: Stage) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stage.base("anthropic"), api_key=ADMIN_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def files(stage: Stage) -> Iterator[openai.OpenAI]:
    base = f"{stage.base('openai', OTHER)}/v1"
    with openai.OpenAI(base_url=base, api_key=ADMIN_KEY, max_retries=0) as client:
        yield client


def test_openai_chat(stage: Stage, chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "Hello from gpt-4o"
    (request,) = stage.provider.requests
    assert (request.path, request.key) == ("/v1/chat/completions", KEY)
    assert ADMIN_KEY not in str(request.headers)


def test_openai_streaming(chat: openai.OpenAI) -> None:
    chunks = list(
        chat.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True)
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello from gpt-4o"


def test_openai_embeddings_and_models(chat: openai.OpenAI) -> None:
    assert len(chat.embeddings.create(model="text-embedding-3-small", input=["one", "two"]).data) == 2
    assert [model.id for model in chat.models.list()] == ["stand-in"]


def test_openai_s_own_headers_do_not_reach_the_provider(stage: Stage) -> None:
    with openai.OpenAI(
        base_url=stage.base("openai"), api_key=ADMIN_KEY, organization="org-of-the-caller", project="p", max_retries=0
    ) as client:
        client.models.list()
    (request,) = stage.provider.requests
    assert not [name for name in request.headers if name.startswith("openai")]


def test_the_async_openai_client(stage: Stage) -> None:
    async def ask() -> str | None:
        async with openai.AsyncOpenAI(base_url=stage.base("openai"), api_key=ADMIN_KEY, max_retries=0) as client:
            answer = await client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
            )
            return answer.choices[0].message.content

    assert asyncio.run(ask())


def test_anthropic_messages(stage: Stage, claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model="claude", max_tokens=9, messages=[{"role": "user", "content": "hello"}])
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "Hello from claude"
    (request,) = stage.provider.requests
    assert (request.path, request.key, request.key_header) == ("/v1/messages", KEY, "x-api-key")
    assert request.headers["anthropic-version"]


def test_anthropic_streaming(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="claude", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
    ) as stream:
        assert "".join(stream.text_stream) == "Hello from claude"
        assert stream.get_final_message().stop_reason == "end_turn"


def azure_clients(base: str) -> list[openai.OpenAI]:
    return [
        openai.AzureOpenAI(azure_endpoint=base, api_key=ADMIN_KEY, api_version="1999-01-01", max_retries=0),
        openai.OpenAI(base_url=f"{base}/openai/v1", api_key=ADMIN_KEY, max_retries=0),
        openai.OpenAI(base_url=base, api_key=ADMIN_KEY, max_retries=0),
    ]


def test_azure_by_its_own_client_and_by_the_plain_one(stage: Stage) -> None:
    for client in azure_clients(stage.base("azure")):
        with client:
            client.chat.completions.create(model="other", messages=[{"role": "user", "content": "hello"}])
    for request in stage.provider.requests:
        assert request.path == "/openai/deployments/dep-1/chat/completions"
        assert (request.query, request.key_header) == ({"api-version": "2024-10-21"}, "api-key")
        assert request.key == KEY


def test_a_file_is_uploaded_in_pieces(stage: Stage, files: openai.OpenAI) -> None:
    async def stored(request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": "file-1", "object": "file", "bytes": 1, "purpose": "batch", "filename": "a"})

    stage.files.answer = stored
    content = os.urandom(3_000_000)
    assert files.files.create(file=("a.jsonl", content), purpose="batch").id == "file-1"
    (heard,) = stage.files.heard
    assert content in heard.body
    assert heard.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert heard.headers["content-length"] == str(len(heard.body))
    assert heard.headers["authorization"] == f"Bearer {KEY}"


def test_sound_is_downloaded_as_it_is(stage: Stage, files: openai.OpenAI) -> None:
    async def spoken(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "audio/mpeg"})
        await stream.prepare(request)
        for start in range(0, len(SOUND), 50_000):
            await stream.write(SOUND[start : start + 50_000])
        return stream

    stage.files.answer = spoken
    with files.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="hi") as answer:
        assert b"".join(answer.iter_bytes()) == SOUND
    assert answer.headers["content-type"] == "audio/mpeg"


def test_a_refused_key_is_the_client_s_error_in_our_words(stage: Stage) -> None:
    refused = str(uuid4())
    stage.client.put(refused, "openai", api_key=f"sk-refused-{uuid4().hex}")
    stage.client.put(refused, "anthropic", api_key=f"sk-refused-{uuid4().hex}")
    with (
        openai.OpenAI(base_url=stage.base("openai", refused), api_key=ADMIN_KEY, max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.models.list()
    assert caught.value.status_code == 424
    assert "rejected the tenant API key" in caught.value.message
    with (
        anthropic.Anthropic(base_url=stage.base("anthropic", refused), api_key=ADMIN_KEY, max_retries=0) as claude,
        pytest.raises(anthropic.APIStatusError) as told,
    ):
        claude.messages.create(model="claude", max_tokens=9, messages=[{"role": "user", "content": "hello"}])
    assert told.value.status_code == 424


def test_a_client_that_leaves_ends_the_call_to_the_provider(stage: Stage) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        while True:
            await stream.write(b"data: x\n\n")
            await asyncio.sleep(0.001)

    stage.files.answer, stage.files.read = endless, True
    stage.files.left.clear()
    with stage.client.http.stream("GET", f"{stage.base('openai', OTHER)}/v1/events") as answer:
        assert next(answer.iter_raw()).startswith(b"data: x")
    assert stage.files.left.wait(60)


def echoing(status: int, encoded: bool) -> object:
    async def echo(request: web.Request) -> web.StreamResponse:
        key = request.headers["authorization"].removeprefix("Bearer ")
        body = f'{{"error": "key {key}"}}'.encode()
        headers = {"x-seen": key, "set-cookie": f"key={key}", "location": f"/{key}", "content-type": "application/json"}
        if encoded:
            headers["content-encoding"], body = "gzip", gzip.compress(body)
        return web.Response(status=status, body=body, headers=headers)

    return echo


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500])
@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "encoded"])
def test_a_provider_that_repeats_the_key_everywhere_gives_it_to_nobody(
    stage: Stage, status: int, encoded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stage.files.answer = echoing(status, encoded)  # type: ignore[assignment]
    answer = stage.client.native(OTHER, "openai", "v1/x", json={})
    assert stage.files.heard[0].headers["authorization"] == f"Bearer {KEY}"
    heard = str(answer.headers).encode() + answer.content + caplog.text.encode()
    assert leaks(heard, [KEY]) == set()
    assert answer.status_code == {302: 502, 401: 424}.get(status, status)


def test_many_calls_at_once_get_their_own_answers(stage: Stage) -> None:
    async def mirror(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await request.read())

    stage.files.answer = mirror

    async def all_at_once() -> None:
        limits = httpx.Limits(max_connections=20)
        headers = {"X-API-Key": ADMIN_KEY}
        async with httpx.AsyncClient(headers=headers, trust_env=False, limits=limits, timeout=30) as client:

            async def one(number: int) -> None:
                body = b"%d-" % number * (1 + number * 300)
                answer = await client.post(f"{stage.base('openai', OTHER)}/v1/mirror", content=body)
                assert answer.content == body

            await asyncio.gather(*map(one, range(60)))

    asyncio.run(all_at_once())
