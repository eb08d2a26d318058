"""The Python entry: the same rules without HTTP in between."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from domain.calls.models import Answer, AnswerStream
from domain.credentials.resolution import Source
from domain.errors import ErrorCode, InvalidRequestError, NoCredentialError
from keyledger.in_process import InProcess, in_process
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.errors import raises
from tests.support.service import SHIPPED_MODELS, environment
from tests.support.store import open_store

TENANT = str(uuid4())
KEY = f"sk-tenant-{uuid4().hex}"
HELLO = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def ledger(database_url: str, data_dir: str, provider: StandInProvider) -> AsyncIterator[InProcess]:
    settings = environment(
        AI_MODELS_FILE=SHIPPED_MODELS,
        DATABASE_URL=database_url,
        DATA_DIR=data_dir,
        OPENAI_API_BASE=provider.url,
        ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        OPENAI_API_KEY="sk-global-openai-0001",
    )
    async with in_process(settings, None) as opened:
        assert "ENCRYPTION_KEY" not in settings
        assert "OPENAI_API_KEY" not in settings
        yield opened


def test_a_backend_completes_streams_and_embeds_as_a_tenant(database_url: str, tmp_path: Path) -> None:
    async def use(provider: StandInProvider) -> None:
        async with ledger(database_url, str(tmp_path), provider) as opened:
            answer = await opened.complete(TENANT, "gpt-4o", HELLO, temperature=0)
            assert isinstance(answer, Answer)
            assert answer.receipt.source is Source.TENANT
            stream = await opened.complete(TENANT, "gpt-4o", HELLO, stream=True)
            assert isinstance(stream, AnswerStream)
            assert len([chunk async for chunk in stream.chunks]) > 1
            vectors = await opened.embed(TENANT, "text-embedding-3-small", ["one", "two"])
            assert len(vectors.body["data"]) == 2  # type: ignore[arg-type]
            other = await opened.complete(str(uuid4()), "gpt-4o", HELLO)
            assert other.receipt.source is Source.GLOBAL

    with open_store(database_url) as store, StandInProvider(accepted=lambda key: True) as provider:
        store.set(TENANT, "openai", KEY)
        asyncio.run(use(provider))
    assert [request.key for request in provider.requests] == [KEY, KEY, KEY, "sk-global-openai-0001"]


def test_what_goes_wrong_is_one_of_our_errors(database_url: str, tmp_path: Path) -> None:
    async def use(provider: StandInProvider) -> None:
        async with ledger(database_url, str(tmp_path), provider) as opened:
            with raises(ErrorCode.UNKNOWN_MODEL):
                await opened.complete(TENANT, "nothing", HELLO)
            with pytest.raises(NoCredentialError):
                await opened.complete(TENANT, "claude-sonnet-4-5", HELLO)
            with pytest.raises(InvalidRequestError):
                await opened.complete(TENANT, "gpt-4o", HELLO, api_key="sk-mine-000000")

    with StandInProvider(accepted=lambda key: True) as provider:
        asyncio.run(use(provider))
    assert provider.requests == []
    assert "OPENAI_API_KEY" not in os.environ or os.environ["OPENAI_API_KEY"] != "sk-global-openai-0001"
