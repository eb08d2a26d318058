"""A credential's use and whether its provider accepts it: the whole service, plain and streamed calls, two nodes."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from keyledger.in_process import in_process
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.canary import leaks
from tests.support.checker import check
from tests.support.postgres import TemplatedServer
from tests.support.service import SHIPPED_MODELS, Client, client_of, environment, served
from tests.support.store import open_store

KEY, OTHER_KEY, GLOBAL_KEY = "sk-CANARY-first-0123456789", "sk-CANARY-second-0123456789", "sk-CANARY-global-0123456789"


@dataclass(frozen=True)
class Stage:
    """Two nodes on one database, and the provider that both call. Keys in `refused` get 401."""

    one: Client
    other: Client
    refused: set[str]
    settings: dict[str, str]
    database_url: str


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    refused: set[str] = set()
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: key not in refused))
        database_url = stack.enter_context(postgres_server.fresh_database())
        settings = environment(
            AI_MODELS_FILE=SHIPPED_MODELS,
            OPENAI_API_BASE=provider.url,
            OPENAI_API_KEY=GLOBAL_KEY,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        one = stack.enter_context(client_of(stack.enter_context(served(database_url, settings))))
        one.http.timeout = 120  # the first call waits for the LLM library, which both nodes share here
        assert one.chat(str(uuid4()), "gpt-4o").status_code == 200
        other = stack.enter_context(client_of(stack.enter_context(served(database_url, settings))))
        yield Stage(one, other, refused, settings, database_url)
        with open_store(database_url) as store:
            check(store)


def state(client: Client, tenant: str) -> str:
    listed = client.http.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials").json()["credentials"]
    shown = client.http.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials/openai").json()
    assert listed == [shown]
    return str(shown["state"])


def actions(client: Client, tenant: str) -> list[str]:
    entries = client.http.get("/api/v1/audit/entries", params={"tenant_id": tenant}).json()["entries"]
    return [entry["action"] for entry in entries]


def counted(client: Client, tenant: str) -> dict[int, tuple[int, int]]:
    """Calls and failures by version, over all hours."""
    found: dict[int, tuple[int, int]] = {}
    for one in client.http.get("/api/v1/audit/usage", params={"tenant_id": tenant}).json()["usage"]:
        calls, failures = found.get(one["version"], (0, 0))
        found[one["version"]] = (calls + one["calls"], failures + one["failures"])
    return found


@pytest.mark.parametrize("stream", [pytest.param(False, id="plain"), pytest.param(True, id="streamed")])
def test_a_refused_credential_is_shown_until_it_is_replaced_and_never_replaced_by_the_global_key(
    stage: Stage, stream: bool
) -> None:
    tenant = str(uuid4())
    stage.one.put(tenant, "openai", api_key=KEY)
    stage.refused.add(KEY)
    for _ in range(3):
        answer = stage.one.chat(tenant, "gpt-4o", stream=stream)
        assert (answer.status_code, answer.json()["code"]) == (424, "credential-rejected"), "it is tried, and no other"
    assert state(stage.one, tenant) == "credential-rejected"
    assert state(stage.other, tenant) == "credential-rejected", "the refusal is in the log by now"
    assert actions(stage.one, tenant) == ["set", "credential-rejected"]

    stage.one.put(tenant, "openai", api_key=OTHER_KEY)
    assert state(stage.one, tenant) == "untested"
    assert stage.one.chat(tenant, "gpt-4o", stream=stream).status_code == 200
    assert actions(stage.one, tenant) == ["set", "credential-rejected", "replaced"]
    assert counted(stage.one, tenant) == {1: (3, 3), 2: (1, 0)}
    stage.refused.clear()


@pytest.mark.parametrize("stream", [pytest.param(False, id="plain"), pytest.param(True, id="streamed")])
def test_recovery_is_recorded_once_also_on_a_node_that_saw_no_refusal(stage: Stage, stream: bool) -> None:
    tenant = str(uuid4())
    stage.one.put(tenant, "openai", api_key=KEY)
    stage.refused.add(KEY)
    refused = stage.one.chat(tenant, "gpt-4o", stream=stream)
    assert state(stage.one, tenant) == "credential-rejected"
    stage.refused.clear()
    for client in (stage.other, stage.one, stage.other):
        assert client.chat(tenant, "gpt-4o", stream=stream).status_code == 200
        assert state(client, tenant) == "in-order"
    assert actions(stage.one, tenant) == ["set", "credential-rejected", "credential-recovered"]
    assert counted(stage.other, tenant) == {1: (4, 1)}, "the counts of both nodes add up"
    entries = stage.one.http.get("/api/v1/audit/entries", params={"tenant_id": tenant}).json()["entries"]
    assert (entries[1]["actor"], entries[1]["request_id"]) == ("service", refused.headers["X-Request-ID"])


def test_calls_with_the_global_key_are_counted_apart(stage: Stage) -> None:
    tenant = str(uuid4())
    stage.refused.add(GLOBAL_KEY)
    assert stage.one.chat(tenant, "gpt-4o").status_code == 424
    stage.refused.clear()
    assert stage.one.chat(tenant, "gpt-4o").status_code == 200
    assert counted(stage.one, tenant) == {0: (2, 1)}
    assert actions(stage.one, tenant) == []
    stage.one.put(tenant, "openai", api_key=KEY)
    assert state(stage.one, tenant) == "untested", "the global key was used, not this one"
    assert stage.one.chat(tenant, "gpt-4o").status_code == 200
    assert counted(stage.one, tenant) == {0: (2, 1), 1: (1, 0)}


def test_no_key_is_among_what_is_counted(stage: Stage) -> None:
    tenant = str(uuid4())
    stage.one.put(tenant, "openai", api_key=KEY)
    stage.one.chat(tenant, "gpt-4o")
    shown = stage.one.http.get("/api/v1/audit/usage").content + stage.one.http.get("/api/v1/audit/entries").content
    assert tenant.encode() in shown
    assert leaks(shown, [KEY, OTHER_KEY, GLOBAL_KEY]) == set()


def test_a_backend_that_calls_in_its_own_process_is_counted_by_its_end(stage: Stage, tmp_path: Path) -> None:
    tenant = str(uuid4())
    stage.one.put(tenant, "openai", api_key=KEY)

    async def call() -> None:
        environ = {**stage.settings, "DATABASE_URL": stage.database_url, "DATA_DIR": str(tmp_path)}
        async with in_process(environ, None) as ledger:
            await ledger.complete(tenant, "gpt-4o", [{"role": "user", "content": "hello"}])

    asyncio.run(call())
    assert counted(stage.one, tenant) == {1: (1, 0)}
