"""No caller holds up the others: some take all they can get, while another must not notice."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from tests.support.native_provider import NativeProvider, native_provider
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, client_of, environment, served

APP, OTHER = "app-key-for-tests-0123456789", "other-key-for-tests-0123456789"
THIRD, AUDITOR = "third-key-for-tests-0123456789", "auditor-key-for-tests-0123456789"
MIB = 1024 * 1024
CONNECTIONS, OF_ADDRESS, OF_KEY, OF_TENANT = 40, 10, 32, 16
OF_PROVIDER_FOR_ONE_KEY, OF_PROVIDER_FOR_TWO = 18, 21  # of the share of 24


@dataclass
class Stage:
    """A service with narrow bounds. `hanging`: names of providers that do not answer."""

    url: str
    provider: NativeProvider
    hanging: set[str] = field(default_factory=set)

    def connect(self) -> socket.socket:
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname, place.port), timeout=60)

    def call(self, tenant: str, provider: str = "openai", key: str = APP) -> bytes:
        path = f"/api/v1/tenants/{tenant}/providers/{provider}/v1/chat/completions"
        body = json.dumps({"model": MODELS[provider], "messages": [{"role": "user", "content": "hello"}]})
        return post(path, body.encode(), key)

    def reached(self, bound: str) -> float:
        return self.metric(f'keyledger_bound_reached_total{{bound="{bound}"}}')

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=60).text
        return float(next(line for line in text.splitlines() if line.startswith(name)).rpartition(" ")[2])

    def until(self, holds: Callable[[], bool]) -> None:
        """Ask until it does; the service has to serve each request that asks."""
        for _ in range(2000):
            if holds():
                return
            self.metric("keyledger_connections")
        pytest.fail("it never held")


def post(path: str, body: bytes, key: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def head_of(client: socket.socket) -> tuple[int, bytes]:
    """The status of an answer and what had been received of it with the head."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = client.recv(65536)
        assert more, received
        received += more
    return int(received.split(b" ", 2)[1]), received


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(native_provider())
        keys = [
            *((name, Role.RUNTIME, key) for name, key in (("app", APP), ("other", OTHER), ("third", THIRD))),
            ("auditor", Role.AUDITOR, AUDITOR),
        ]
        settings = environment(
            API_KEYS=",".join(format_named_key(name, role, Secret(key)) for name, role, key in keys),
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_KEY="sk-global-openai-0123456789",
            MISTRAL_API_KEY="global-mistral-0123456789",
            OPENAI_API_BASE=f"{provider.url}/openai/v1",
            MISTRAL_API_BASE=f"{provider.url}/mistral/v1",
            MAX_CONNECTIONS=str(CONNECTIONS),
            MAX_CONNECTIONS_PER_ADDRESS=str(OF_ADDRESS),
            KEY_BODY_MIB="8",
            BODY_MIB="16",
            READER_SECONDS="1",
        )
        url = stack.enter_context(served(stack.enter_context(postgres_server.fresh_database()), settings))
        one = Stage(url, provider)

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path.split("/")[1] in one.hanging:
                await asyncio.Event().wait()
            return web.json_response(COMPLETION)

        provider.answer = answer
        yield one


MODELS = {"openai": "gpt-4o", "mistral": "mistral-small"}
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@pytest.fixture(autouse=True)
def _calm(stage: Stage) -> Iterator[None]:
    """Nothing is held before and after a test."""
    stage.hanging.clear()
    yield
    stage.hanging.clear()
    stage.until(lambda: stage.metric("keyledger_calls_under_way") == 0)
    stage.until(lambda: stage.metric("keyledger_call_body_bytes") == 0)
    stage.provider.heard.clear()


def test_idle_sockets_of_a_stranger_take_no_request_from_a_caller(stage: Stage) -> None:
    statuses = []
    with ExitStack() as strangers, client_of(stage.url) as kept:
        for number in range(5 * CONNECTIONS):
            stranger = strangers.enter_context(stage.connect())
            if number % 3 == 0:
                stranger.sendall(b"GET /api/v1/audit/entries HTTP/1.1\r\nHo")  # and no more
            statuses.append(kept.http.get("/api/v1/sysadmin/tenants").status_code)
            with client_of(stage.url) as new:
                statuses.append(new.http.get("/api/v1/sysadmin/tenants").status_code)
    assert statuses == [200] * 10 * CONNECTIONS
    assert stage.reached("address-connections") + stage.reached("connections") >= 5 * CONNECTIONS - CONNECTIONS


@pytest.mark.parametrize(
    ("keys", "calls"),
    [
        pytest.param((APP,), OF_PROVIDER_FOR_ONE_KEY, id="for one key"),
        pytest.param((APP, OTHER), OF_PROVIDER_FOR_TWO, id="for two keys"),
    ],
)
def test_a_provider_that_hangs_takes_nothing_from_others(keys: tuple[str, ...], calls: int, stage: Stage) -> None:
    stage.hanging.add("openai")
    with ExitStack() as stack:
        for number in range(calls):
            client = stack.enter_context(stage.connect())
            client.sendall(stage.call(str(uuid4()), key=keys[number % len(keys)]))
            stage.until(lambda expected=number + 1: len(stage.provider.heard) == expected)  # type: ignore[misc]
        with stage.connect() as refused:
            refused.sendall(stage.call(str(uuid4()), key=keys[-1]))
            status, text = head_of(refused)
        assert (status, b"PROVIDER_SHARE" in text, b"retry-after: 1" in text.lower()) == (503, True, True)
        with stage.connect() as other:
            other.sendall(stage.call(str(uuid4()), "mistral"))
            assert head_of(other)[0] == 200
        with client_of(stage.url) as admin:
            assert admin.http.get("/api/v1/sysadmin/tenants").status_code == 200
            assert admin.http.get("/livez").status_code == 200
    stage.until(lambda: stage.metric("keyledger_calls_under_way") == 0)
    stage.hanging.clear()
    with stage.connect() as again:
        again.sendall(stage.call(str(uuid4())))
        assert head_of(again)[0] == 200


def test_a_tenant_whose_calls_hang_takes_nothing_from_other_tenants(stage: Stage) -> None:
    stage.hanging.add("openai")
    tenant = str(uuid4())
    with ExitStack() as stack:
        for number in range(OF_TENANT):
            client = stack.enter_context(stage.connect())
            client.sendall(stage.call(tenant))
            stage.until(lambda expected=number + 1: len(stage.provider.heard) == expected)  # type: ignore[misc]
        with stage.connect() as refused:
            refused.sendall(stage.call(tenant, "mistral"))
            status, text = head_of(refused)
            assert (status, b"TENANT_SHARE" in text) == (429, True)
        with stage.connect() as other:
            other.sendall(stage.call(str(uuid4()), "mistral"))
            assert head_of(other)[0] == 200


def test_the_calls_of_one_key_leave_the_provider_to_another(stage: Stage) -> None:
    stage.hanging.add("openai")
    with ExitStack() as stack:
        for _ in range(OF_PROVIDER_FOR_ONE_KEY + 5):
            stack.enter_context(stage.connect()).sendall(stage.call(str(uuid4())))
        stage.until(lambda: len(stage.provider.heard) == OF_PROVIDER_FOR_ONE_KEY)
        stage.hanging.clear()
        with stage.connect() as other:
            other.sendall(stage.call(str(uuid4()), key=OTHER))
            assert head_of(other)[0] == 200


def listing(key: str) -> bytes:
    """A request that is answered at once, so that its connection is idle."""
    path = "/api/v1/audit/entries" if key in {AUDITOR, ADMIN_KEY} else f"/api/v1/tenants/{uuid4()}/openai/v1/models"
    return f"GET {path} HTTP/1.1\r\nHost: here\r\nX-API-Key: {key}\r\n\r\n".encode()


def test_idle_connections_of_any_number_refuse_no_caller(stage: Stage) -> None:
    before = stage.reached("calls")
    statuses = []
    with ExitStack() as stack:
        for key in [APP] * 2 * CONNECTIONS + [OTHER] * CONNECTIONS + [THIRD, AUDITOR, ADMIN_KEY] * 3:
            client = stack.enter_context(stage.connect())
            client.sendall(listing(key))
            statuses.append(head_of(client)[0])
        with stage.connect() as call:
            call.sendall(stage.call(str(uuid4()), key=THIRD))
            statuses.append(head_of(call)[0])
    assert set(statuses) == {200}
    assert stage.reached("calls") > before


def test_a_key_with_many_requests_under_way_leaves_connections_to_other_keys(stage: Stage) -> None:
    slow = post(f"/api/v1/tenants/{uuid4()}/openai/v1/chat/completions", b"x" * 1000, APP)[:-1]
    before = stage.reached("key-connections")
    with ExitStack() as stack:
        for _ in range(OF_KEY):
            stack.enter_context(stage.connect()).sendall(slow)
            stage.metric("keyledger_connections")  # what was sent has been read
        with stage.connect() as refused:
            refused.sendall(slow)
            assert head_of(refused)[0] == 429
        for key in (OTHER, AUDITOR, ADMIN_KEY):
            client = stack.enter_context(stage.connect())
            client.sendall(listing(key))
            assert head_of(client)[0] == 200
    assert stage.reached("key-connections") == before + 1


def test_bodies_of_one_key_leave_memory_to_others(stage: Stage) -> None:
    stage.hanging.add("openai")
    path = f"/api/v1/tenants/{uuid4()}/openai/v1/chat/completions"
    messages = [{"role": "user", "content": "x" * 900_000}]
    body = json.dumps({"model": "gpt-4o", "messages": messages}).encode()
    fitting = 8 * MIB // len(body)
    with ExitStack() as stack:
        for number in range(fitting):
            client = stack.enter_context(stage.connect())
            client.sendall(post(path, body, APP))
            stage.until(lambda expected=number + 1: len(stage.provider.heard) == expected)  # type: ignore[misc]
        assert stage.metric("keyledger_call_body_bytes") == fitting * len(body)
        refused = stack.enter_context(client_of(stage.url, APP)).http.post(
            path, content=body, headers={"Content-Type": "application/json"}
        )
        assert (refused.status_code, refused.json()["code"]) == (429, "limit-reached")
        assert "KEY_BODY_MIB" in refused.json()["detail"]
        other = stack.enter_context(stage.connect())
        other.sendall(post(path, body, OTHER))
        stage.until(lambda: len(stage.provider.heard) == fitting + 1)


def test_a_short_chat_is_served_while_slow_bodies_hold_all_the_memory_that_they_may(stage: Stage) -> None:
    path = f"/api/v1/tenants/{uuid4()}/openai/v1/chat/completions"
    almost = post(path, b"x" * (4 * MIB - 8_000), APP)[:-1]
    chat = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 60_000}]}).encode()
    with ExitStack() as stack:
        for key in (APP, APP, OTHER, OTHER):
            client = stack.enter_context(stage.connect())
            client.sendall(almost.replace(APP.encode(), key.encode(), 1))
        stage.until(lambda: stage.metric("keyledger_call_body_bytes") > 16 * MIB - 40_000)
        for key in (THIRD, APP):
            with stage.connect() as served_at_once:
                served_at_once.sendall(post(path, chat, key))
                assert head_of(served_at_once)[0] == 200


MANY: dict[str, tuple[dict[str, Any], int]] = {
    "messages": ({"messages": [{"role": "user", "content": "a"}] * 60_000}, 1),
    "some messages too many": ({"messages": [{"role": "user", "content": "a"}] * 3_000}, 1),
    "unknown members": ({"messages": [], **{f"Temperature{number}{'x' * 60}": 1 for number in range(50_000)}}, 20),
    "numbers": ({"messages": [{"role": "user", "content": "a"}], "stop": list(range(600_000))}, 1),
}


@pytest.mark.parametrize("what", MANY)
def test_a_request_with_too_many_parts_is_refused_with_few_errors(what: str, stage: Stage) -> None:
    more, errors = MANY[what]
    with client_of(stage.url, APP) as client:
        refused = client.http.post(
            f"/api/v1/tenants/{uuid4()}/openai/v1/chat/completions", json={"model": "gpt-4o", **more}
        )
    assert refused.status_code == 422
    assert len(refused.json()["errors"]) == errors
    assert len(refused.content) < 20_000


def test_refused_bodies_are_given_back_at_once(stage: Stage) -> None:
    path = f"/api/v1/tenants/{uuid4()}/openai/v1/chat/completions"
    body = json.dumps({"model": "gpt-4o", **MANY["messages"][0]}).encode()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with client_of(stage.url, APP) as client:
            for _ in range(8):
                client.http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert tracemalloc.get_traced_memory()[0] < 2 * len(body)
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_query_with_thousands_of_names_is_refused_with_few_errors(stage: Stage) -> None:
    with client_of(stage.url) as client:
        refused = client.http.get("/api/v1/audit/entries?" + "&".join(f"actr{number}=1" for number in range(5000)))
    assert refused.status_code == 422
    assert len(refused.json()["errors"]) == 20


def test_a_client_that_does_not_read_a_stream_is_cut_off_and_ends_its_call(stage: Stage) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b"data: " + b"x" * 65536 + b"\n\n")

    usual, stage.provider.answer = stage.provider.answer, endless
    try:
        before = stage.reached("reader")
        stage.provider.left.clear()
        with stage.connect() as client:
            client.sendall(stage.call(str(uuid4())))
            assert stage.provider.left.wait(60)
            assert stage.reached("reader") == before + 1
            stage.until(lambda: stage.metric("keyledger_calls_under_way") == 0)
    finally:
        stage.provider.answer = usual


@pytest.mark.parametrize(
    "path", ["/livez", "/docs", "/api/v1/sysadmin/tenants", "/nowhere", "/api/v1/tenants/x/providers/y/z"]
)
def test_a_request_without_a_host_gets_no_further(path: str, stage: Stage) -> None:
    with stage.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nX-API-Key: {ADMIN_KEY}\r\n\r\n".encode())
        assert head_of(client)[0] == 400
        assert client.recv(1) == b""
