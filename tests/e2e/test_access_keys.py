"""Access keys on the whole service: two nodes that obey at once, one statement for a call, real scopes."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from projections.database.numbered import Statement
from projections.database.pipeline import Pipeline
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.checker import check
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served
from tests.support.store import open_store

KEYS_PATH = "/api/v1/sysadmin/access-keys"
TENANT, OTHER_TENANT = str(uuid4()), str(uuid4())
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


@dataclass(frozen=True)
class Stage:
    """Two nodes on one database, and the provider that both call."""

    nodes: tuple[Client, Client]
    provider: StandInProvider
    native: NativeProvider

    def made(self, node: int = 0, **body: Any) -> tuple[str, str]:
        """Make a key; return its name and its token."""
        wanted = {"name": f"k-{uuid4().hex[:8]}", "role": "runtime", **body}
        answer = self.nodes[node].http.post(KEYS_PATH, json=wanted)
        assert answer.status_code == 201, answer.text
        return wanted["name"], answer.json()["token"]

    def call(self, node: int, token: str, tenant: str = TENANT, provider: str = "openai") -> httpx.Response:
        """Call a provider's own API with a token."""
        return self.nodes[node].native(tenant, provider, "v1/chat/completions", json=CHAT, headers={"X-API-Key": token})


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    with (
        StandInProvider(accepted=lambda key: True) as provider,
        native_provider() as native,
        postgres_server.fresh_database() as database_url,
    ):
        addresses = f"{urlsplit(provider.url).netloc},{urlsplit(native.url).netloc}"
        settings = environment(OPENAI_API_BASE=f"{provider.url}/v1", ENDPOINT_ALLOWED_HOSTS=addresses)
        with ExitStack() as stack:
            urls = [stack.enter_context(served(database_url, settings)) for _ in range(2)]
            nodes = [stack.enter_context(client_of(url)) for url in urls]
            for tenant in (TENANT, OTHER_TENANT):
                assert nodes[0].put(tenant, "openai", api_key=f"sk-tenant-{tenant}").status_code == 200
            yield Stage((nodes[0], nodes[1]), provider, native)
        with open_store(database_url) as store:
            check(store)


def test_a_scoped_key_calls_its_tenant_and_is_refused_at_another(stage: Stage) -> None:
    name, token = stage.made(tenants=[TENANT], surfaces=["native"])
    for node in (0, 1):
        stage.provider.forget()
        answer = stage.call(node, token)
        assert answer.status_code == 200, answer.text
        assert [request.key for request in stage.provider.requests] == [f"sk-tenant-{TENANT}"]
        refused = stage.call(node, token, OTHER_TENANT)
        assert (refused.status_code, refused.json()["code"]) == (403, "outside-scope")
        assert "this tenant" in refused.json()["detail"]
        unknown = stage.call(node, token, str(uuid4()))
        assert unknown.json()["detail"] == refused.json()["detail"]
        assert len(stage.provider.requests) == 1
    assert stage.nodes[1].http.get(f"{KEYS_PATH}/{name}").json()["tenants"] == [TENANT]


def test_a_change_on_one_node_is_obeyed_by_the_next_call_on_the_other(stage: Stage) -> None:
    name, token = stage.made()
    assert stage.call(1, token).status_code == 200
    path, node = f"{KEYS_PATH}/{name}", stage.nodes[0].http
    assert node.patch(path, json={"providers": ["mistral"]}).status_code == 200
    assert stage.call(1, token).json()["code"] == "outside-scope"
    assert node.patch(path, json={"providers": None}).status_code == 200
    assert stage.call(1, token).status_code == 200
    second = node.post(f"{path}/rotate", json={}).json()["token"]
    assert stage.call(1, token).status_code == 401
    assert stage.call(1, second).status_code == 200
    assert node.delete(path).status_code == 200
    assert stage.call(1, second).json()["code"] == "access-key-refused"


class Calling(Thread):
    """A client that calls a node until it is refused. late: the statuses of calls that began after `over` was set."""

    def __init__(self, stage: Stage, node: int, token: str) -> None:
        super().__init__()
        self._stage, self._node, self._token = stage, node, token
        self.over = Event()
        self.late: list[int] = []

    def run(self) -> None:
        with client_of(str(self._stage.nodes[self._node].http.base_url), self._token) as own:
            status = 200
            while status == 200 or not self.over.is_set():
                late = self.over.is_set()
                status = own.native(TENANT, "openai", "v1/chat/completions", json=CHAT).status_code
                if late:
                    self.late.append(status)


def test_no_call_begins_after_a_revocation_was_answered(stage: Stage) -> None:
    chance = random.Random(20261128)
    for _ in range(12):
        name, token = stage.made()
        callers = [Calling(stage, node, token) for node in (0, 1)]
        for one in callers:
            one.start()
        for _ in range(chance.randrange(8)):  # let some calls through
            assert stage.call(chance.randrange(2), token).status_code == 200
        assert stage.nodes[chance.randrange(2)].http.delete(f"{KEYS_PATH}/{name}").status_code == 200
        for one in callers:
            one.over.set()
        for one in callers:
            one.join()
        assert [status for one in callers for status in one.late if status != 401] == []


async def _silent(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b'data: {"choices": []}\n\n')
    return await _silent(request)


@pytest.mark.parametrize("answer", [_silent, _endless], ids=["not answered yet", "a stream"])
def test_a_call_under_way_ends_when_its_key_is_revoked_on_another_node(
    stage: Stage, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    provider, tenant, (name, token) = stage.native, str(uuid4()), stage.made()
    provider.answer = answer
    provider.heard.clear()
    provider.left.clear()
    assert stage.nodes[0].put(tenant, "vllm", api_key="EMPTY", endpoint=provider.url).status_code == 200
    ended: list[str] = []

    def call() -> None:
        try:
            ended.append(stage.call(1, token, tenant, "vllm").json()["code"])
        except httpx.RemoteProtocolError:
            ended.append("broken off")

    caller = Thread(target=call)
    caller.start()
    while not provider.heard and not ended:  # until the call is under way
        caller.join(0.01)
    assert stage.nodes[0].http.delete(f"{KEYS_PATH}/{name}").status_code == 200
    caller.join(60)
    assert ended == ["access-key-refused" if answer is _silent else "broken off"]
    assert provider.left.wait(60)


def test_the_call_of_a_known_key_is_one_statement(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = stage.made()
    admin = str(stage.nodes[0].http.headers["X-API-Key"])
    for key in (token, admin):
        assert stage.call(0, key).status_code == 200
    sent: list[bytes] = []
    send = Pipeline.send

    def counted(self: Pipeline, statement: Statement, *args: Any) -> None:
        sent.append(statement.text)
        send(self, statement, *args)

    monkeypatch.setattr(Pipeline, "send", counted)
    for key, table in ((token, b"access_keys"), (admin, b"current_credentials")):
        sent.clear()
        assert stage.call(0, key).status_code == 200
        assert len(sent) == 1
        assert table in sent[0]


def test_an_administrators_key_is_one_statement_more_and_never_cached(stage: Stage) -> None:
    name, token = stage.made(role="auditor", tenants=[TENANT])
    path = f"/api/v1/sysadmin/tenants/{TENANT}/credentials"
    headers = {"X-API-Key": token}
    assert stage.nodes[1].http.get(path, headers=headers).status_code == 200
    assert stage.nodes[1].http.get(path.replace(TENANT, OTHER_TENANT), headers=headers).status_code == 403
    assert stage.nodes[0].http.delete(f"{KEYS_PATH}/{name}").status_code == 200
    assert stage.nodes[1].http.get(path, headers=headers).status_code == 401
