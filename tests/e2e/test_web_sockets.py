"""WebSockets through the whole service: exactly the right key opens one, and it ends once that is no longer allowed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from queue import Queue
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.isolation import AZURE, STATES, Stage
from tests.support.lazily import Lazily
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, client_of, environment, served
from tests.support.socket_provider import SocketProvider, socket_provider

if TYPE_CHECKING:
    import openai
else:
    openai = Lazily("openai")

PROVIDERS = ("openai", "azure", "xai", "vllm")
KEYS_PATH = "/api/v1/sysadmin/access-keys"
ADMIN = {"X-API-Key": ADMIN_KEY}


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(socket_provider())
        thief = stack.enter_context(StandInProvider(accepted=lambda key: True))
        database_url = stack.enter_context(postgres_server.fresh_database())
        keys = {name: f"sk-global-{name}-{uuid4().hex}" for name in PROVIDERS}
        settings = environment(
            OPENAI_API_BASE=f"{provider.url}/openai/v1",
            XAI_API_BASE=f"{provider.url}/xai/v1",
            VLLM_MODEL_URL=f"{provider.url}/vllm",
            AZURE_ENDPOINT=f"{provider.url}/azure",
            AZURE_API_VERSION="2024-10-21",
            AZURE_DEPLOYMENT_NAME="gpt-global",
            ENDPOINT_ALLOWED_HOSTS=f"{urlsplit(provider.url).netloc},{urlsplit(thief.url).netloc}",
            **{f"{name.upper()}_API_KEY": key for name, key in keys.items()},
        )
        url = stack.enter_context(served(database_url, settings))
        client = stack.enter_context(client_of(url))
        yield Stage(client, cast("StandInProvider", provider), thief, database_url, keys)


@pytest.fixture
def provider(stage: Stage) -> SocketProvider:
    served_by = cast("SocketProvider", stage.provider)
    served_by.forget()
    return served_by


def address(stage: Stage, tenant: str, name: str = "openai", query: str = "?model=gpt-realtime") -> str:
    base = str(stage.client.http.base_url).rstrip("/").replace("http://", "ws://")
    return f"{base}/api/v1/tenants/{tenant}/providers/{name}/v1/realtime{query}"


@asynccontextmanager
async def opened(
    stage: Stage, tenant: str, name: str = "openai", query: str = "?model=gpt-realtime", **more: Any
) -> AsyncIterator[ClientConnection]:
    more.setdefault("additional_headers", ADMIN)
    async with connect(address(stage, tenant, name, query), proxy=None, ping_interval=None, **more) as connection:
        yield connection


async def refused(stage: Stage, tenant: str, name: str = "openai", **more: Any) -> tuple[int, str]:
    """Status and code of a handshake that is refused."""
    try:
        async with opened(stage, tenant, name, **more):
            pytest.fail("the handshake was not refused")
    except InvalidStatus as error:
        import json

        return error.response.status_code, json.loads(error.response.body or b"{}")["code"]


def keys_that_arrived(provider: SocketProvider) -> list[str]:
    return [
        one.headers.get("api-key") or one.headers["authorization"].removeprefix("Bearer ") for one in provider.opened
    ]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", PROVIDERS)
def test_exactly_the_right_key_or_none_opens_a_socket(
    stage: Stage, provider: SocketProvider, name: str, state: str
) -> None:
    tenant, key = str(uuid4()), f"sk-tenant-{uuid4().hex}"
    arrange, expected = STATES[state]
    arrange(stage, tenant, name, key)

    async def converse() -> tuple[Any, Any, ClientConnection]:
        async with opened(stage, tenant, name) as connection:
            await connection.send(f"the key is {key}")
            await connection.send(b"\x00" + key.encode())
            return await connection.recv(), await connection.recv(), connection

    if expected == "tenant":
        text, data, connection = asyncio.run(converse())
        assert (text, data) == ("the key is [redacted]", b"\x00[redacted]")
        assert connection.response is not None
        assert connection.response.headers["x-credential-source"] == "tenant"
        assert keys_that_arrived(provider) == [key]
        if name == "azure":
            deployment = AZURE["deployment_name"]
            assert f"/openai/realtime?api-version=2024-10-21&deployment={deployment}" in provider.opened[0].target
    else:
        code = "global-key-not-allowed" if expected == "global" else expected
        assert asyncio.run(refused(stage, tenant, name)) == (403 if expected == "global" else 500, code)
        assert provider.opened == []
    assert stage.thief.requests == []


def made(stage: Stage, **body: Any) -> tuple[str, str]:
    """Make an access key; return its name and its token."""
    wanted = {"name": f"k-{uuid4().hex[:8]}", "role": "runtime", **body}
    answer = stage.client.http.post(KEYS_PATH, json=wanted)
    assert answer.status_code == 201, answer.text
    return wanted["name"], answer.json()["token"]


def with_token(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def test_a_handshake_is_authenticated_and_limited_like_any_call(stage: Stage, provider: SocketProvider) -> None:
    tenant, other = str(uuid4()), str(uuid4())
    stage.set(tenant, "openai", f"sk-{uuid4().hex}")
    stage.set(other, "openai", f"sk-{uuid4().hex}")
    stage.set(tenant, "mistral", f"sk-{uuid4().hex}")
    _, of_tenant = made(stage, tenants=[tenant])
    _, of_models = made(stage, tenants=[tenant], models=["gpt-realtime"], native_routes=["GET:v1/realtime"])
    _, of_routes = made(stage, tenants=[tenant], native_routes=["POST:v1/chat/completions"])
    _, of_surface = made(stage, tenants=[tenant], surfaces=["openai"])
    _, of_budget = made(stage, tenants=[tenant], tokens_per_day=1000)
    name, revoked = made(stage, tenants=[tenant])
    assert stage.client.http.delete(f"{KEYS_PATH}/{name}").status_code == 200
    outside = (403, "outside-scope")
    foreign = {"Cookie": "__Host-keyledger_session=x; keyledger_session=x", "Origin": "https://evil.example"}

    async def all_of_them() -> None:
        assert await refused(stage, tenant, additional_headers={}) == (401, "unauthenticated")
        assert await refused(stage, tenant, additional_headers=foreign) == (401, "unauthenticated")
        assert await refused(stage, tenant, **with_token("wrong")) == (401, "unauthenticated")
        assert await refused(stage, tenant, **with_token(revoked)) == (401, "access-key-refused")
        assert await refused(stage, other, **with_token(of_tenant)) == outside
        assert await refused(stage, tenant, **with_token(of_routes)) == outside
        assert await refused(stage, tenant, **with_token(of_surface)) == outside
        assert await refused(stage, tenant, **with_token(of_budget)) == outside
        assert await refused(stage, tenant, query="?model=o3", **with_token(of_models)) == outside
        assert await refused(stage, tenant, query="", **with_token(of_models)) == outside
        assert await refused(stage, tenant, query="?model=gpt-realtime&model=o3", **with_token(of_models)) == outside
        both: dict[str, Any] = {"additional_headers": ADMIN, "subprotocols": [f"openai-insecure-api-key.{of_tenant}"]}
        assert await refused(stage, tenant, **both) == (401, "unauthenticated")
        assert await refused(stage, tenant, "mistral") == (400, "upgrade-refused")
        assert provider.opened == []
        browser = ["realtime", f"openai-insecure-api-key.{of_tenant}"]
        async with opened(stage, tenant, additional_headers={}, subprotocols=browser) as connection:
            assert connection.subprotocol == "realtime"
        assert provider.opened[0].headers["sec-websocket-protocol"] == "realtime"
        async with opened(stage, tenant, **with_token(of_models)) as connection:
            await connection.send('{"type": "session.update", "session": {"model": "gpt-realtime"}}')
            assert "gpt-realtime" in str(await connection.recv())
            await connection.send('{"type": "session.update", "session": {"model": "o3"}}')
            with pytest.raises(ConnectionClosed) as ended:
                await connection.recv()
            assert ended.value.rcvd is not None
            assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1008, "outside-scope")

    asyncio.run(all_of_them())


def test_a_socket_holds_the_place_of_a_call_until_it_ends(stage: Stage, provider: SocketProvider) -> None:
    tenant = str(uuid4())
    stage.set(tenant, "openai", f"sk-{uuid4().hex}")
    _, token = made(stage, tenants=[tenant], concurrent_calls=1)

    async def twice() -> None:
        async with opened(stage, tenant, **with_token(token)):
            assert await refused(stage, tenant, **with_token(token)) == (429, "access-limit-reached")
        while True:  # the service learns of the end a moment after the client
            try:
                async with opened(stage, tenant, **with_token(token)):
                    return
            except InvalidStatus as error:
                assert error.response.status_code == 429

    asyncio.run(twice())


def test_a_socket_ends_within_five_seconds_of_whatever_no_longer_allows_it(
    stage: Stage, provider: SocketProvider
) -> None:
    tenants = {name: str(uuid4()) for name in ("revoked", "narrowed", "frozen", "replaced", "deleted", "untouched")}
    tokens = {}
    for name, tenant in tenants.items():
        stage.set(tenant, "openai", f"sk-{name}-{uuid4().hex}")
        tokens[name] = made(stage, tenants=[tenant])
    http = stage.client.http

    def change() -> None:
        answers = [
            http.delete(f"{KEYS_PATH}/{tokens['revoked'][0]}"),
            http.patch(f"{KEYS_PATH}/{tokens['narrowed'][0]}", json={"tenants": [str(uuid4())]}),
            http.post(f"/api/v1/sysadmin/tenants/{tenants['frozen']}/freeze"),
            stage.client.put(tenants["replaced"], "openai", api_key=f"sk-new-{uuid4().hex}"),
            stage.client.delete(tenants["deleted"], "openai"),
        ]
        assert [answer.status_code for answer in answers] == [200] * len(answers), [one.text for one in answers]

    async def ending(connection: ClientConnection) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as ended:
            await connection.recv()
        assert ended.value.rcvd is not None
        return ended.value.rcvd.code, ended.value.rcvd.reason

    async def all_of_them() -> dict[str, tuple[int, str]]:
        async with AsyncExitStack() as stack:
            sockets = {
                name: await stack.enter_async_context(opened(stage, tenant, **with_token(tokens[name][1])))
                for name, tenant in tenants.items()
            }
            await asyncio.to_thread(change)
            rest = [name for name in tenants if name != "untouched"]
            async with asyncio.timeout(5 * 60):
                ended = await asyncio.gather(*(ending(sockets[name]) for name in rest))
            untouched = sockets["untouched"]
            await untouched.send("still here")
            assert await untouched.recv() == "still here"
            return dict(zip(rest, ended, strict=True))

    assert asyncio.run(all_of_them()) == {
        "revoked": (1008, "access-key-refused"),
        "narrowed": (1008, "outside-scope"),
        "frozen": (1008, "tenant-frozen"),
        "replaced": (1008, "credential-replaced"),
        "deleted": (1008, "credential-replaced"),
    }
    assert all(one.ended.wait(60) for one in provider.opened if one is not provider.opened[-1])


def test_the_official_client_talks_through_the_service(stage: Stage, provider: SocketProvider) -> None:
    tenant, key = str(uuid4()), f"sk-{uuid4().hex}"
    stage.set(tenant, "openai", key)

    async def talk(connection: Any) -> None:
        await connection.send('{"type": "session.created", "event_id": "1", "session": {"type": "realtime"}}')
        async for message in connection:
            assert "hello" in message
            await connection.send('{"type": "response.output_text.delta", "event_id": "2", "delta": "hi"}')

    provider.talk = talk

    async def converse() -> list[str]:
        base = f"{str(stage.client.http.base_url).rstrip('/')}/api/v1/tenants/{tenant}/providers/openai/v1"
        options: Any = {"proxy": None}
        async with (
            openai.AsyncOpenAI(base_url=base, api_key=ADMIN_KEY) as client,
            client.realtime.connect(model="gpt-realtime", websocket_connection_options=options) as connection,
        ):
            seen = [(await connection.recv()).type]
            text: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
            await connection.conversation.item.create(item=text)
            return [*seen, (await connection.recv()).type]

    assert asyncio.run(converse()) == ["session.created", "response.output_text.delta"]
    assert keys_that_arrived(provider) == [key]
    assert provider.opened[0].target == "/openai/v1/realtime?model=gpt-realtime"


class Lines(logging.Handler):
    """Keeps every record, and says when there is one of a socket that has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.of_sockets: Queue[logging.LogRecord] = Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if getattr(record, "status", None) == 101:
            self.of_sockets.put(record)


def test_a_socket_is_one_line_of_the_log_and_no_part_of_what_was_said(
    stage: Stage, provider: SocketProvider, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, key, lines = str(uuid4()), f"sk-{uuid4().hex}", Lines()
    stage.set(tenant, "openai", key)
    _, token = made(stage, tenants=[tenant])
    access = logging.getLogger("keyledger.access")
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="keyledger.access")
    for name in ("websockets.client", "websockets.server"):
        caplog.set_level(logging.CRITICAL, logger=name)  # this test's own ends of the conversation

    async def converse() -> None:
        subprotocols = ["realtime", f"openai-insecure-api-key.{token}"]
        async with opened(stage, tenant, additional_headers={}, subprotocols=subprotocols) as connection:
            await connection.send("a very private sentence")
            await connection.recv()

    for logger in (logging.getLogger(), access):
        logger.addHandler(lines)
    try:
        asyncio.run(converse())
        line = lines.of_sockets.get(timeout=60).__dict__
    finally:
        for logger in (logging.getLogger(), access):
            logger.removeHandler(lines)
    assert (line["method"], line["code"], line["route"].endswith("(WebSocket)")) == ("GET", None, True)
    said = "\n".join(f"{one.getMessage()} {one.__dict__}" for one in lines.records)
    for secret in ("private", key, token, "gpt-realtime"):
        assert secret not in said
    metrics = stage.client.http.get("/metrics").text
    assert "(WebSocket)" in metrics
    assert 'status="101"' in metrics


def test_a_service_that_stops_closes_its_sockets_after_its_grace(
    postgres_server: TemplatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyledger.serving.http_server._GRACE_S", 1)
    tenant = str(uuid4())
    with socket_provider() as provider, postgres_server.fresh_database() as database_url:
        settings = environment(
            OPENAI_API_BASE=f"{provider.url}/v1", ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc
        )
        with ExitStack() as running:
            url = running.enter_context(served(database_url, settings))
            with client_of(url) as client:
                assert client.put(tenant, "openai", api_key="sk-0123456789abcdef").status_code == 200

            async def until_stopped() -> tuple[int, str]:
                path = f"/api/v1/tenants/{tenant}/providers/openai/v1/realtime"
                target = url.replace("http://", "ws://") + path
                async with connect(target, proxy=None, additional_headers=ADMIN) as connection:
                    stopping = asyncio.create_task(asyncio.to_thread(running.close))
                    with pytest.raises(ConnectionClosed) as ended:
                        await connection.recv()
                    await stopping
                    assert ended.value.rcvd is not None
                    return ended.value.rcvd.code, ended.value.rcvd.reason

            assert asyncio.run(until_stopped()) == (1001, "shutting-down")
        assert provider.opened[0].ended.wait(60)
        assert provider.opened[0].closed == (1001, "")
