"""Connections to providers under load, from outside: each carries one key, and each caller receives its own answer."""

import asyncio
import itertools
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.support.effort import MIXED_CALLS
from tests.support.postgres import TemplatedServer
from tests.support.scripted_provider import Asked, Line, ScriptedProvider, answer_to, provider_in_a_thread
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, credential, environment, served

GLOBAL_KEY = "sk-the-global-key-of-the-platform"
AT_A_TIME = 24
A_PUT_EVERY = 40


@dataclass(frozen=True)
class Rig:
    url: str
    provider: ScriptedProvider


@pytest.fixture
def rig(postgres_server: TemplatedServer) -> Iterator[Rig]:
    with provider_in_a_thread() as provider, postgres_server.fresh_database() as database_url:
        settings = environment(
            AI_MODELS_FILE=DIRECT_MODELS, OPENAI_API_KEY=GLOBAL_KEY, OPENAI_API_BASE=f"{provider.url}/v1"
        )
        with served(database_url, settings) as url:
            yield Rig(url, provider)


def client(rig: Rig) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=rig.url, headers={"X-API-Key": ADMIN_KEY}, timeout=60, trust_env=False)


@dataclass
class Tenant:
    """keys: by version; the last one is in force."""

    id: str = field(default_factory=lambda: str(uuid4()))
    keys: list[str] = field(default_factory=list)

    async def replace_key(self, http: httpx.AsyncClient) -> None:
        key = f"sk-version-{len(self.keys) + 1}-{uuid4().hex}"
        answer = await http.put(credential(self.id, "openai"), json={"api_key": key})
        assert answer.status_code == 200, answer.text
        self.keys.append(key)


async def call(http: httpx.AsyncClient, tenant: Tenant, route: str, mark: str) -> None:
    """Call a model; the answer must be the one to this call."""
    where = f"/api/v1/tenants/{tenant.id}/{route}/chat/completions"
    answer = await http.post(where, json={"model": "gpt-4o", "messages": [{"role": "user", "content": mark}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == mark


def test_each_connection_carries_one_key_and_each_call_the_key_in_force_when_it_began(rig):
    async def run() -> None:
        tenants = [Tenant(), Tenant(), Tenant()]  # the last one has no credential
        kinds = itertools.cycle([*((one, "providers/openai/v1") for one in tenants), (tenants[0], "openai/v1")])
        turns = iter(range(MIXED_CALLS))
        began: dict[str, tuple[Tenant, str, int]] = {}
        async with client(rig) as http:
            for tenant in tenants[:2]:
                await tenant.replace_key(http)

            async def work() -> None:
                for turn in turns:
                    tenant, route = next(kinds)
                    mark = uuid4().hex
                    began[mark] = tenant, route, len(tenant.keys)
                    await call(http, tenant, route, mark)
                    if turn % A_PUT_EVERY == 0:
                        await tenants[turn // A_PUT_EVERY % 2].replace_key(http)

            await asyncio.gather(*(work() for _ in range(AT_A_TIME)))

        assert all(len(keys) == 1 for keys in rig.provider.keys_of_lines)
        asked = {one.mark: one.key for line in rig.provider.lines for one in line.asked}
        assert len(asked) == MIXED_CALLS
        for mark, (tenant, route, version) in began.items():
            own = tenant.keys[max(version - 1, 0) :] if route.startswith("providers") else []
            assert asked[mark] in (own or [GLOBAL_KEY])
        # The tenants of the global key share no connection either.
        with_global_key = [line for line in rig.provider.lines if line.keys == {GLOBAL_KEY}]
        for line in with_global_key:
            assert len({began[one.mark][0].id for one in line.asked}) == 1

    asyncio.run(run())


PLANTED = answer_to("planted")


def test_calls_of_another_tenant_are_untouched_by_a_provider_that_answers_twice(rig):
    async def twice(line: Line, asked: Asked) -> None:
        head, _, body = answer_to("evil").partition(b"\r\n\r\n")
        line.send(head, b"\r\n\r\n")
        await line.writer.drain()
        line.send(body, PLANTED)

    async def run() -> None:
        first, other = Tenant(), Tenant()
        rig.provider.misbehave = twice
        async with client(rig) as http:
            await first.replace_key(http)
            await other.replace_key(http)
            evil = f"/api/v1/tenants/{first.id}/providers/openai/v1/things"
            for _ in range(MIXED_CALLS // 20):
                await http.post(evil, headers={"x-mark": "evil"})
                for _ in range(20):
                    await call(http, other, "providers/openai/v1", uuid4().hex)
                await call(http, first, "providers/openai/v1", uuid4().hex)
            metrics = (await http.get("/metrics")).text
        assert all(len(keys) == 1 for keys in rig.provider.keys_of_lines)
        counted = [line for line in metrics.splitlines() if line.startswith("keyledger_provider_connections_")]
        assert (
            "keyledger_provider_connections_idle 1.0" in counted
        )  # the other tenant's; the first one's are distrusted
        assert any(line.startswith('keyledger_provider_connections_closed_total{reason="') for line in counted)

    asyncio.run(run())


SMUGGLED = (
    b"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-of-the-attacker\r\nContent-Length: 160\r\n\r\n"
)
WITH_A_BODY = {
    "a length": (b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), SMUGGLED),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
    "chunks, none": (b"Transfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
}


@pytest.mark.parametrize("framing", WITH_A_BODY.values(), ids=WITH_A_BODY)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_a_request_hidden_in_the_body_of_a_method_without_one_never_leaves(rig, method, framing):
    head = (
        f"{method} /api/v1/tenants/{uuid4()}/providers/openai/v1/models HTTP/1.1\r\n"
        f"Host: localhost\r\nX-API-Key: {ADMIN_KEY}\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(rig.url).port or 0), timeout=60) as raw:
        raw.sendall(head.encode() + framing[0] + framing[1])
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    status, _, rest = answer.partition(b"\r\n")
    assert status.split()[1] == b"422"
    assert b"connection: close" in rest.lower()
    assert answer.count(b"HTTP/1.1") == 1
    if method != "HEAD":
        problem = json.loads(rest.partition(b"\r\n\r\n")[2])
        assert (problem["code"], method in problem["detail"]) == ("invalid-request", True)
    assert rig.provider.lines == []
