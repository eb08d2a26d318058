"""The service behind the nginx of `docs/operations.md`: addresses, streams in both directions, paths unchanged."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from tests.support.native_provider import NativeProvider, native_provider
from tests.support.places import REPOSITORY
from tests.support.ports import free_port
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, credential, environment, served

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PROXY, CLIENT, FORGED = "127.0.0.1", "127.0.0.2", "203.0.113.9"
TENANT = str(uuid4())
_SNIPPET = re.compile(r"```nginx\n(.*?)```", re.DOTALL)
_FRAME = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {servers}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass(frozen=True)
class Stage:
    client: Client
    provider: NativeProvider


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(native_provider())
        settings = environment(
            TRUSTED_PROXIES=PROXY,
            OPENAI_API_BASE=f"{provider.url}/v1",
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        url = stack.enter_context(served(stack.enter_context(postgres_server.fresh_database()), settings))
        port = stack.enter_context(nginx(urlsplit(url).netloc, tmp_path_factory.mktemp("nginx")))
        # A client of another address than the proxy's, although both are on this machine.
        transport = httpx.HTTPTransport(local_address=CLIENT)
        http = stack.enter_context(
            httpx.Client(
                base_url=f"http://{PROXY}:{port}", transport=transport, headers={"X-API-Key": ADMIN_KEY}, timeout=30
            )
        )
        client = Client(http)
        assert client.put(TENANT, "openai", api_key="sk-tenant-0123456789").status_code == 200
        yield Stage(client, provider)


@contextmanager
def nginx(upstream: str, folder: Path) -> Iterator[int]:
    """Run nginx with the documented configuration, but for its certificate and both addresses."""
    port = free_port(PROXY)
    configuration = folder / "nginx.conf"
    configuration.write_text(_FRAME.format(servers=_documented(upstream, port)), encoding="utf-8")
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(configuration), "-e", "stderr"])
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _documented(upstream: str, port: int) -> str:
    found = _SNIPPET.search((REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert found is not None
    without_tls = re.sub(r"\n *ssl_[^;]*;", "", found[1])
    return without_tls.replace("127.0.0.1:8000", upstream).replace("listen 443 ssl", f"listen {PROXY}:{port}")


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            socket.create_connection((PROXY, port), 1).close()
        except OSError:
            continue
        return
    raise AssertionError("nginx ended")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"X-Forwarded-For": FORGED}, id="an address"),
        pytest.param({"X-Forwarded-For": f"{FORGED}, {PROXY}"}, id="an address and a trusted proxy"),
        pytest.param({"X-Forwarded-For": 'for="'}, id="garbage"),
        pytest.param({"Forwarded": f"for={FORGED}", "X-Real-IP": FORGED}, id="other headers"),
    ],
)
def test_the_audit_shows_the_clients_address_whatever_it_sends(stage: Stage, sent: dict[str, str]) -> None:
    request_id = str(uuid4())
    headers = {"X-Request-ID": request_id, **sent}
    body = {"api_key": f"sk-tenant-{uuid4().hex}"}
    assert stage.client.http.put(credential(TENANT, "openai"), json=body, headers=headers).status_code == 200
    found = stage.client.http.get("/api/v1/audit/entries", params={"text": request_id}).json()["entries"]
    assert [entry["client_address"] for entry in found] == [CLIENT]


def test_a_stream_arrives_piece_by_piece(stage: Stage) -> None:
    received = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def in_two_pieces(request: web.Request) -> web.StreamResponse:
        loops.append(asyncio.get_running_loop())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await received.wait()  # a proxy that collects would wait for ever
        await response.write(b"data: second\n\n")
        return response

    stage.provider.answer = in_two_pieces
    path = f"/api/v1/tenants/{TENANT}/providers/openai/v1/stream"
    with stage.client.http.stream("GET", path) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        loops[0].call_soon_threadsafe(received.set)
        assert (first, b"".join(pieces)) == (b"data: first\n\n", b"data: second\n\n")


def test_a_path_arrives_as_it_was_sent(stage: Stage) -> None:
    stage.provider.answer = NativeProvider().answer
    assert stage.client.native(TENANT, "openai", "v1/files/a%2Fb%20c?x=%2F", "GET").status_code == 200
    assert stage.provider.heard[-1].target == "/v1/files/a%2Fb%20c?x=%2F"


def test_a_large_body_passes(stage: Stage) -> None:
    stage.provider.answer = NativeProvider().answer
    body = b"x" * 5_000_000
    assert stage.client.native(TENANT, "openai", "v1/files", content=body).status_code == 200
    assert len(stage.provider.heard[-1].body) == len(body)
