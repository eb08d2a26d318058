"""Cases that need a real server and real sockets: bodies that never come, and connections that end early."""

import asyncio
import json
import re
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from api.front.bodies import Limits
from domain.calls.models import AnswerStream
from tests.api.conftest import CREDENTIALS, OPENAI, SUPER_KEY, Harness
from tests.api.scripted import TENANT_RECEIPT

URL = f"{CREDENTIALS}/openai"
PATIENCE = 60.0


@contextmanager
def served(harness):
    """Serve the application on a free loopback port and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(harness.app, log_config=None, ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
        assert not thread.is_alive()


def head(method, path, *lines, key=SUPER_KEY):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"X-API-Key: {key}", *lines, "", ""]).encode()


def exchange(address, *parts):
    """Send the parts and return everything that comes back until the server closes."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        pytest.param(
            [head("PUT", URL, JSON, "Content-Length: 100", key="wrong")],
            b"401",
            b"unauthenticated",
            id="a stranger who announces a body and sends none is answered at once",
        ),
        pytest.param(
            [head("PUT", URL, JSON, "Content-Length: 100"), b'{"api_key"'],
            b"408",
            b"request-timeout",
            id="half a body is waited for only so long",
        ),
        pytest.param(
            [head("PUT", URL, JSON, "Content-Length: 52428800")],
            b"413",
            b"body-too-large",
            id="fifty megabytes are refused before the first of them",
        ),
        pytest.param(
            [head("PUT", URL, JSON, "Transfer-Encoding: chunked"), b"4001\r\n" + b" " * 0x4001 + b"\r\n"],
            b"413",
            b"body-too-large",
            id="a body without a length is refused when it grows too large",
        ),
        pytest.param(
            [head("PUT", URL, "Content-Length: 5"), b"hello"],
            b"415",
            b"unsupported-media-type",
            id="a body of no type is not read",
        ),
        pytest.param(
            [head("PUT", URL, JSON, "Content-Length: 20000", key="wrong"), *[b"x" * 1000] * 20],
            b"401",
            b"unauthenticated",
            id="a stranger who sends slowly still hears the answer",
        ),
    ],
)
def test_a_request_that_must_not_be_waited_for_is_answered_and_closed(parts, status, code):
    harness = Harness(limits=Limits(admin_seconds=0.05, linger_seconds=0.5))
    with served(harness) as address:
        answer = exchange(address, *parts)
    assert answer.startswith(b"HTTP/1.1 " + status) and b'"code":"' + code in answer
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert harness.log.events == []


def test_a_connection_goes_on_after_a_body_that_was_ignored(harness):
    put = json.dumps({"api_key": "sk-0123456789"}).encode()
    with served(harness) as address:
        answer = exchange(
            address,
            head("GET", URL, "Content-Length: 7") + b"{broken",
            head("PUT", URL, JSON, f"Content-Length: {len(put)}") + put,
            head("DELETE", URL, "Connection: close"),
        )
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"404", b"200", b"200"]


def test_a_client_that_hangs_up_ends_the_stream_at_its_source(harness):
    closed = threading.Event()

    async def endless():
        try:
            yield {"n": 1}
            await asyncio.Event().wait()
        finally:
            closed.set()

    harness.models.outcome = lambda: AnswerStream(TENANT_RECEIPT, endless())
    body = json.dumps({"model": "gpt-4o", "messages": [{}], "stream": True}).encode()
    with served(harness) as address:
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            connection.sendall(head("POST", f"{OPENAI}/chat/completions", JSON, f"Content-Length: {len(body)}") + body)
            answer = b""
            while b'data: {"n":1}' not in answer:
                answer += connection.recv(65536)
        assert closed.wait(PATIENCE)
