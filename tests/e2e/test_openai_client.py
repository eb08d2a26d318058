"""The official `openai` client works unmodified against the service: it is given a base URL and a key, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.lazily import Lazily
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, SHIPPED_MODELS, client_of, environment, served

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionToolParam
else:
    openai = Lazily("openai")


TENANT = str(uuid4())
KEY = f"sk-tenant-{uuid4().hex}"
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def base_url(postgres_server: TemplatedServer) -> Iterator[str]:
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted={KEY}))
        database_url = stack.enter_context(postgres_server.fresh_database())
        settings = environment(
            AI_MODELS_FILE=SHIPPED_MODELS,
            OPENAI_API_BASE=provider.url,
            ANTHROPIC_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        url = stack.enter_context(served(database_url, settings))
        client = stack.enter_context(client_of(url))
        for name in ("openai", "anthropic"):
            assert client.put(TENANT, name, api_key=KEY).status_code == 200
        yield f"{url}/api/v1/tenants/{TENANT}/openai/v1"


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key=ADMIN_KEY, max_retries=0) as client:
        yield client


MODELS = [pytest.param("gpt-4o", id="openai"), pytest.param("claude-sonnet-4-5", id="anthropic")]


@pytest.mark.parametrize("model", MODELS)
def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    assert answer.model == model
    assert answer.choices[0].message.content
    assert answer.usage is not None


@pytest.mark.parametrize("model", MODELS)
def test_streaming(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    chunks = list(
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], stream=True)
    )
    assert len(chunks) > 1
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


@pytest.mark.parametrize("model", MODELS)
def test_tools(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "weather in Uppsala?"}], tools=[WEATHER]
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    assert "Uppsala" in calls[0].function.arguments


@pytest.mark.parametrize("model", MODELS)
def test_tools_in_a_stream(client: openai.OpenAI, model: str) -> None:
    chunks = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "weather in Uppsala?"}], tools=[WEATHER], stream=True
    )
    deltas = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    arguments = "".join(call.function.arguments or "" for call in deltas if call.function)
    assert "Uppsala" in arguments


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [len(one.embedding) > 0 for one in answer.data] == [True, True]


def test_models(client: openai.OpenAI) -> None:
    assert "gpt-4o" in {model.id for model in client.models.list()}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_the_async_client(base_url: str) -> None:
    async def ask() -> str | None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=ADMIN_KEY, max_retries=0) as client:
            answer = await client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
            )
            return answer.choices[0].message.content

    assert asyncio.run(ask())


def test_the_answer_tells_whose_key_served(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
    )
    assert raw.headers["x-credential-source"] == "tenant"
    assert raw.headers["x-credential-version"] == "1"
    assert raw.headers["x-credential-key-id"].startswith("k")


def test_an_unknown_model_is_an_error_the_client_understands(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="catalogue"):
        client.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "hello"}])


def test_a_wrong_key_is_an_error_the_client_understands(base_url: str) -> None:
    with (
        openai.OpenAI(base_url=base_url, api_key="wrong-key-000", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
