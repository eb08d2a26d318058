"""Tenants on the whole service: two nodes that obey a freeze and a policy at once, on every surface."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from keyledger.llm.adapters.litellm import LiteLLMAdapter
from scripts.demo.stand_in_provider import StandInProvider
from tests.e2e.test_access_keys import CHAT, KEYS_PATH, _endless, _silent
from tests.support.checker import check
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import SHIPPED_MODELS, Client, client_of, environment, served
from tests.support.store import open_store

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Stage:
    """Two nodes on one database, with a global key for openai, and the providers that both call."""

    nodes: tuple[Client, Client]
    provider: StandInProvider
    native: NativeProvider
    database_url: str

    def path(self, tenant: str, what: str = "") -> str:
        return f"/api/v1/sysadmin/tenants/{tenant}{what}"

    def command(self, node: int, tenant: str, what: str, **headers: str) -> dict[str, Any]:
        answer = self.nodes[node].http.post(self.path(tenant, f"/{what}"), headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def policy(self, node: int, tenant: str, **policy: Any) -> None:
        answer = self.nodes[node].http.put(self.path(tenant, "/policy"), json=policy)
        assert answer.status_code == 200, answer.text

    def tenant(self, key: str = "") -> str:
        """A tenant with a key of its own for openai, if one is given."""
        tenant = str(uuid4())
        if key:
            assert self.nodes[0].put(tenant, "openai", api_key=key).status_code == 200
        return tenant

    def call(self, node: int, tenant: str, provider: str = "openai", **more: Any) -> httpx.Response:
        return self.nodes[node].native(tenant, provider, "v1/chat/completions", json=CHAT, **more)

    def sql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as database:
            assert database.execute(statement.encode(), values).rowcount == 1


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    asyncio.run(LiteLLMAdapter().warm_up())  # it would keep two nodes of one process from renewing their leases
    with (
        StandInProvider(accepted=lambda key: True) as provider,
        native_provider() as native,
        postgres_server.fresh_database() as database_url,
    ):
        addresses = f"{urlsplit(provider.url).netloc},{urlsplit(native.url).netloc}"
        settings = environment(
            AI_MODELS_FILE=SHIPPED_MODELS,
            OPENAI_API_BASE=f"{provider.url}/v1",
            OPENAI_API_KEY="sk-global-0123456789",
            ENDPOINT_ALLOWED_HOSTS=addresses,
        )
        with ExitStack() as stack:
            urls = [stack.enter_context(served(database_url, settings)) for _ in range(2)]
            nodes = [stack.enter_context(client_of(url)) for url in urls]
            yield Stage((nodes[0], nodes[1]), provider, native, database_url)
        with open_store(database_url) as store:
            check(store)


def chat(stage: Stage, tenant: str) -> httpx.Response:
    return stage.nodes[1].chat(tenant, "gpt-4o")


def streamed(stage: Stage, tenant: str) -> httpx.Response:
    return stage.nodes[1].chat(tenant, "gpt-4o", stream=True)


def embeddings(stage: Stage, tenant: str) -> httpx.Response:
    return stage.nodes[1].embed(tenant, "text-embedding-3-small")


def native(stage: Stage, tenant: str) -> httpx.Response:
    return stage.call(1, tenant)


def messages(stage: Stage, tenant: str) -> httpx.Response:
    body = {**CHAT, "max_tokens": 8}
    return stage.nodes[1].http.post(f"/api/v1/tenants/{tenant}/anthropic/v1/messages", json=body)


def responses(stage: Stage, tenant: str) -> httpx.Response:
    body = {"model": "gpt-4o", "input": "hello"}
    return stage.nodes[1].http.post(f"/api/v1/tenants/{tenant}/openai/v1/responses", json=body)


def put(stage: Stage, tenant: str) -> httpx.Response:
    return stage.nodes[1].put(tenant, "mistral", api_key="sk-mistral-0123456789")


SURFACES = [chat, streamed, embeddings, messages, responses, native, put]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("key", ["sk-tenant-0123456789", ""], ids=["own key", "global key"])
def test_a_frozen_tenant_is_refused_on_every_surface_and_no_other_tenant_is(
    stage: Stage, surface: Callable[[Stage, str], httpx.Response], key: str
) -> None:
    tenant, other = stage.tenant(key), stage.tenant("sk-other-0123456789")
    served_with = 404 if surface is responses else 200  # the stand-in has no such route, and its answer is passed on
    frozen = stage.command(0, tenant, "freeze", **{"X-Audit-Reason": "a leak"})
    assert (frozen["frozen"], frozen["changed"]) == (True, True)
    stage.provider.forget()
    refused = surface(stage, tenant)
    assert (refused.status_code, refused.json()["code"]) == (423, "tenant-frozen"), refused.text
    assert stage.provider.requests == []
    answer = surface(stage, other)
    assert answer.status_code == served_with, answer.text
    assert stage.command(1, tenant, "thaw")["frozen"] is False
    assert surface(stage, tenant).status_code == served_with


def test_freezing_what_is_frozen_changes_nothing_and_says_so(stage: Stage) -> None:
    tenant = stage.tenant()
    first = stage.command(0, tenant, "freeze", **{"Idempotency-Key": "f-1"})
    again = stage.command(1, tenant, "freeze")
    repeated = stage.command(1, tenant, "freeze", **{"Idempotency-Key": "f-1"})
    assert [one["changed"] for one in (first, again, repeated)] == [True, False, True]
    assert [one["version"] for one in (first, again, repeated)] == [1, 1, 1]
    assert stage.command(0, tenant, "thaw")["version"] == 2
    assert stage.command(0, tenant, "thaw")["changed"] is False


def test_reads_and_the_audit_of_a_frozen_tenant_go_on(stage: Stage) -> None:
    tenant = stage.tenant("sk-tenant-0123456789")
    stage.command(0, tenant, "freeze", **{"X-Audit-Reason": "ticket 4711"})
    http = stage.nodes[1].http
    assert len(http.get(stage.path(tenant, "/credentials")).json()["credentials"]) == 1
    assert http.get(stage.path(tenant, "/resolution"), params={"model": "gpt-4o"}).json()["refusal"]["code"] == (
        "tenant-frozen"
    )
    entries = http.get("/api/v1/audit/entries", params={"tenant_id": tenant}).json()["entries"]
    assert [(one["action"], one["reason"]) for one in entries][-1] == ("tenant-frozen", "ticket 4711")
    listed = http.get("/api/v1/sysadmin/tenants", params={"limit": 1000}).json()["tenants"]
    assert [one["frozen"] for one in listed if one["tenant_id"] == tenant] == [True]


class Calling(Thread):
    """A client that calls a node until it is refused. late: the statuses of calls that began after `over` was set."""

    def __init__(self, stage: Stage, node: int, tenant: str) -> None:
        super().__init__()
        self._stage, self._node, self._tenant = stage, node, tenant
        self.over = Event()
        self.late: list[int] = []

    def run(self) -> None:
        with client_of(str(self._stage.nodes[self._node].http.base_url)) as own:
            status = 200
            while status == 200 or not self.over.is_set():
                late = self.over.is_set()
                status = own.native(self._tenant, "openai", "v1/chat/completions", json=CHAT).status_code
                if late:
                    self.late.append(status)


def test_no_call_begins_after_a_freeze_was_answered(stage: Stage) -> None:
    chance = random.Random(20261128)
    for _ in range(12):
        tenant = stage.tenant("sk-tenant-0123456789" if chance.random() < 0.5 else "")
        callers = [Calling(stage, node, tenant) for node in (0, 1)]
        for one in callers:
            one.start()
        for _ in range(chance.randrange(8)):  # let some calls through
            assert stage.call(chance.randrange(2), tenant).status_code == 200
        stage.command(chance.randrange(2), tenant, "freeze")
        for one in callers:
            one.over.set()
        for one in callers:
            one.join()
        assert [status for one in callers for status in one.late if status != 423] == []


@pytest.mark.parametrize("by_key", [False, True], ids=["key of the settings", "access key"])
@pytest.mark.parametrize("answer", [_silent, _endless], ids=["not answered yet", "a stream"])
def test_a_call_under_way_ends_when_its_tenant_is_frozen_on_another_node(
    stage: Stage, answer: Answer, by_key: bool
) -> None:
    provider, tenant = stage.native, str(uuid4())
    provider.answer = answer
    provider.heard.clear()
    provider.left.clear()
    assert stage.nodes[0].put(tenant, "vllm", api_key="EMPTY", endpoint=provider.url).status_code == 200
    headers = {}
    if by_key:
        made = stage.nodes[0].http.post(KEYS_PATH, json={"name": f"k-{uuid4().hex[:8]}", "role": "runtime"})
        headers = {"X-API-Key": made.json()["token"]}
    ended: list[str] = []

    def call() -> None:
        try:
            ended.append(stage.call(1, tenant, "vllm", headers=headers).json()["code"])
        except httpx.RemoteProtocolError:
            ended.append("broken off")

    caller = Thread(target=call)
    caller.start()
    while not provider.heard and not ended:  # until the call is under way
        caller.join(0.01)
    stage.command(0, tenant, "freeze")
    caller.join(60)
    assert ended == ["tenant-frozen" if answer is _silent else "broken off"]
    assert provider.left.wait(60)


POLICIES = [
    pytest.param({"providers": ["mistral"]}, 403, "outside-policy", id="another provider"),
    pytest.param({"fallback": "deny"}, 424, "no-credential", id="no global key"),
    pytest.param({"providers": ["openai"]}, 200, None, id="this provider"),
    pytest.param({}, 200, None, id="the default"),
]


@pytest.mark.parametrize(("policy", "status", "code"), POLICIES)
def test_a_policy_of_one_node_is_obeyed_by_the_next_call_on_the_other(
    stage: Stage, policy: dict[str, Any], status: int, code: str | None
) -> None:
    tenant = stage.tenant()
    stage.policy(0, tenant, **policy)
    stage.provider.forget()
    for surface in (native, chat):
        answer = surface(stage, tenant)
        assert (answer.status_code, answer.json().get("code")) == (status, code)
    keys = [request.key for request in stage.provider.requests]
    assert keys == (["sk-global-0123456789"] * 2 if status == 200 else [])


def test_a_policy_against_own_endpoints_refuses_them_in_a_put_and_in_calls(stage: Stage) -> None:
    tenant = str(uuid4())
    body = {"api_key": "sk-own-0123456789", "endpoint": f"{stage.provider.url}/v1"}
    assert stage.nodes[0].put(tenant, "openai", **body).status_code == 200
    assert stage.call(0, tenant).status_code == 200
    stage.policy(0, tenant, own_endpoints=False)
    stage.provider.forget()
    for refused in (stage.call(1, tenant), stage.nodes[1].put(tenant, "openai", **body)):
        assert (refused.status_code, refused.json()["code"]) == (403, "outside-policy")
    assert stage.provider.requests == []
    assert stage.nodes[1].put(tenant, "openai", api_key="sk-own-0123456789").status_code == 200
    assert stage.call(0, tenant).status_code == 200


def test_a_policy_may_want_each_key_accepted_before_it_is_stored(stage: Stage) -> None:
    tenant, good, bad = str(uuid4()), "sk-good-0123456789", "sk-bad-0123456789"
    stage.policy(0, tenant, key_check=True)
    stage.provider.forget()
    stage.provider.accepted = lambda key: key != bad
    stored, refused = (stage.nodes[1].put(tenant, "openai", api_key=key) for key in (good, bad))
    stage.provider.accepted = lambda key: True
    assert (stored.status_code, stored.json()["version"]) == (200, 1)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-credential")
    assert "openai rejects this key" in refused.json()["detail"]
    assert [(one.path, one.key) for one in stage.provider.requests] == [("/v1/models", good), ("/v1/models", bad)]
    assert stage.nodes[0].http.get(stage.path(tenant, "/credentials/openai")).json()["version"] == 1


DAMAGE = [
    pytest.param("UPDATE tenants SET frozen = false, version = 1 WHERE tenant_id = %s", id="put back"),
    pytest.param("UPDATE tenants SET frozen = false WHERE tenant_id = %s", id="changed"),
    pytest.param("DELETE FROM tenants WHERE tenant_id = %s", id="taken away"),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("key", ["sk-tenant-0123456789", ""], ids=["own key", "global key"])
def test_a_tenant_whose_rules_someone_changed_gets_an_error_and_no_key(
    postgres_server: TemplatedServer, damage: str, key: str
) -> None:
    with StandInProvider(accepted=lambda key: True) as provider, postgres_server.fresh_database() as url:
        settings = environment(OPENAI_API_BASE=f"{provider.url}/v1", OPENAI_API_KEY="sk-global-0123456789")
        with served(url, settings) as address, client_of(address) as client:
            tenant = str(uuid4())
            if key:
                assert client.put(tenant, "openai", api_key=key).status_code == 200
            base = f"/api/v1/sysadmin/tenants/{tenant}"
            assert client.http.put(f"{base}/policy", json={"fallback": "deny"}).status_code == 200
            assert client.http.post(f"{base}/freeze").status_code == 200
            with psycopg.connect(url, autocommit=True) as database:
                assert database.execute(damage.encode(), [tenant]).rowcount == 1
            for answer in (client.chat(tenant, "gpt-4o"), client.native(tenant, "openai", "v1/x", json=CHAT)):
                assert (answer.status_code, answer.json()["code"]) == (500, "credential-integrity")
            assert provider.requests == []
            assert client.http.get(base).status_code == 500


def test_registration_can_be_required(postgres_server: TemplatedServer) -> None:
    with StandInProvider(accepted=lambda key: True) as provider, postgres_server.fresh_database() as url:
        settings = environment(
            OPENAI_API_BASE=f"{provider.url}/v1", OPENAI_API_KEY="sk-global-0123456789", TENANTS_REGISTERED="required"
        )
        with served(url, settings) as address, client_of(address) as client:
            tenant = str(uuid4())
            put, call = client.put(tenant, "openai", api_key="sk-tenant-0123456789"), client.chat(tenant, "gpt-4o")
            for answer in (put, call):
                assert (answer.status_code, answer.json()["code"]) == (403, "tenant-not-registered")
            body = {"name": "Acme Health", "labels": {"plan": "gold"}}
            made = client.http.put(f"/api/v1/sysadmin/tenants/{tenant}", json=body)
            assert (made.status_code, made.headers["ETag"]) == (200, '"v1"')
            assert client.put(tenant, "openai", api_key="sk-tenant-0123456789").status_code == 200
            assert client.chat(tenant, "gpt-4o").status_code == 200
            shown = client.http.get(f"/api/v1/sysadmin/tenants/{tenant}").json()
            assert (shown["name"], shown["labels"]) == ("Acme Health", {"plan": "gold"})
    assert len(provider.requests) == 1
