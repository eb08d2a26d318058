"""The HTTP server around an application: its socket, its start, its end."""

import os
import signal
import socket

import httpx
import pytest

from scripts.exits import Exit, Stop
from scripts.http_server import address_of, listen, listen_near, orderly_end, serve_here, served_beside


def application(*, starts: bool = True):
    ended = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete" if starts else "lifespan.startup.failed"})
            if starts:
                await receive()
                ended.append(True)
                await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app, ended


def test_an_application_is_served_while_the_block_lasts_and_ended_in_order():
    app, ended = application()
    with listen("127.0.0.1", 0) as listener, served_beside(app, listener) as url:
        answer = httpx.get(url, trust_env=False)
        assert answer.text == "ok"
        assert "server" not in answer.headers
        assert not ended
    assert ended
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_an_application_that_does_not_start_stops_the_command():
    app, _ = application(starts=False)
    with listen("127.0.0.1", 0) as listener, pytest.raises(Stop) as stopped, served_beside(app, listener):
        pytest.fail("nothing is served")
    assert stopped.value.code == Exit.REFUSED


def test_an_application_that_does_not_start_stops_a_command_that_only_serves():
    app, _ = application(starts=False)
    with listen("127.0.0.1", 0) as listener, pytest.raises(Stop) as stopped:
        serve_here(app, listener)
    assert stopped.value.code == Exit.REFUSED


def test_a_busy_port_stops_the_command_and_names_the_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Stop) as stopped:
            listen("127.0.0.1", port)
        assert f"port {port}" in stopped.value.lines[0]
        with listen_near("127.0.0.1", port) as listener:
            assert listener.getsockname()[1] != port


def test_a_host_that_is_none_stops_the_command():
    with pytest.raises(Stop):
        listen("256.256.256.256", 0)


def test_an_ipv6_address_is_shown_in_brackets():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = listen("::1", 0)
    except Stop:
        pytest.skip("this machine has no IPv6 loopback")
    with listener:
        assert address_of(listener).startswith("http://[::1]:")


def test_a_termination_leaves_the_block_as_an_orderly_end():
    cleaned = []
    with pytest.raises(SystemExit) as ended, orderly_end():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([signal.SIGUSR2], 5)
        finally:
            cleaned.append(True)
    assert ended.value.code == Exit.OK
    assert cleaned
