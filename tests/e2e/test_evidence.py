"""The log of a running service under floods: strangers, an insider among them, and a hostile endpoint of a tenant."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from scripts.demo.misbehaviour import Failure, Misbehaviour
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.postgres import TemplatedServer
from tests.support.service import DIRECT_MODELS, Client, client_of, credential, environment, served

INSIDER_KEY = "insider-key-0123456789"


@dataclass(frozen=True)
class Stage:
    """A service behind a trusted proxy, and the provider that its tenants call."""

    url: str
    admin: Client
    insider: Client
    provider: StandInProvider

    def entries(self) -> list[dict[str, Any]]:
        exported = self.admin.http.get("/api/v1/audit/export", params={"format": "jsonl"})
        found = [json.loads(line) for line in exported.text.splitlines()]
        return [entry for entry in found if entry["action"] != "audit-exported"]


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        settings = environment(
            AI_MODELS_FILE=DIRECT_MODELS,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
            TRUSTED_PROXIES="127.0.0.1",
            AUTH_LOCKOUT_ATTEMPTS="6",
            API_KEYS=format_named_key("insider", Role.RUNTIME, Secret(INSIDER_KEY)),
        )
        url = stack.enter_context(served(stack.enter_context(postgres_server.fresh_database()), settings))
        admin = stack.enter_context(client_of(url))
        insider = stack.enter_context(client_of(url, INSIDER_KEY))
        yield Stage(url, admin, insider, provider)


def test_a_flood_of_strangers_adds_few_entries_and_hides_no_insider(stage: Stage) -> None:
    before, tenant = len(stage.entries()), str(uuid4())

    def flood(thread: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with httpx.Client(base_url=stage.url, trust_env=False, timeout=60) as client:
            for number in range(500):
                headers = {"X-Forwarded-For": f"198.51.{thread}.{number % 250}", "X-Request-ID": f"req-{number}"}
                method = ("GET", "PUT", "DELETE", "PATCH")[number % 4]
                path = credential(str(uuid4()), "openai") if number % 3 else f"/api/{uuid4()}"
                statuses[client.request(method, path, headers=headers).status_code] += 1
        return statuses

    with ThreadPoolExecutor(4) as threads:
        floods = [threads.submit(flood, thread) for thread in range(4)]
        assert stage.insider.put(tenant, "openai", api_key="sk-0123456789").status_code == 403
        assert stage.insider.delete(tenant, "openai").status_code == 403
        assert sum((one.result() for one in floods), Counter()) == {401: 2000}
    added = stage.entries()[before:]
    by_insider = [
        (entry["details"]["method"], entry["details"]["count"], entry["tenant_id"])
        for entry in added
        if entry["actor"] == "insider"
    ]
    assert by_insider == [("PUT", 1, tenant), ("DELETE", 1, tenant)]
    assert len(added) <= 50


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500])
def test_a_hostile_endpoint_adds_nothing_to_the_log_call_by_call(stage: Stage, status: int) -> None:
    tenant = str(uuid4())
    assert stage.admin.put(tenant, "vllm", api_key="sk-0123456789", endpoint=stage.provider.url).status_code == 200
    before = len(stage.entries())
    stage.provider.misbehave = Misbehaviour(Failure.STATUS, status=status)
    for number in range(100):
        method = ("GET", "POST", "HEAD", "DELETE")[number % 4]
        answer = stage.insider.native(tenant, "vllm", "v1/models", method)
        assert answer.status_code == {401: 424}.get(status, status)
    stage.provider.misbehave = None
    added = Counter(entry["action"] for entry in stage.entries()[before:])
    assert added["request-refused"] == 0 and added["credential-rejected"] <= 1


def test_an_address_that_guesses_is_locked_out_and_its_valid_key_is_served(stage: Stage) -> None:
    before, path = len(stage.entries()), "/api/v1/audit/entries"
    headers = {"X-Forwarded-For": "203.0.113.7"}
    with httpx.Client(base_url=stage.url, trust_env=False, timeout=60, headers=headers) as client:

        def guess(number: int) -> httpx.Response:
            return client.get(path, headers={"X-API-Key": f"guess-{number}"})

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(guess, range(10)))
        assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 5}
        assert client.get(path, headers={"X-API-Key": INSIDER_KEY}).status_code == 403
        assert client.get("/livez").status_code == 200
    added = [entry for entry in stage.entries()[before:] if entry["action"] == "address-locked-out"]
    assert [(entry["client_address"], entry["details"]) for entry in added] == [
        ("203.0.113.7", {"seconds": 60.0, "count": 1})
    ]
