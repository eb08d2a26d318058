"""The HTTP server around an application: its socket, its start, its end."""

import signal
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import anyio.to_thread
import httpx
import pytest

from api.front.bounds.chosen import Bounds
from api.front.bounds.connections import CONNECTIONS, Connections, place_of
from api.front.bounds.pieces import Pieces
from api.front.bounds.reached import Bound
from api.front.proxies import NO_PROXIES
from keyledger.serving.bounded_http import BoundedHttp
from keyledger.serving.http_server import address_of, listen, listen_near, serve_here, served_beside
from keyledger.serving.signals import orderly_end
from keyledger.start_error import StartError


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
        answer = httpx.get(url, timeout=60, trust_env=False)
        assert answer.text == "ok"
        assert "server" not in answer.headers
        assert not ended
    assert ended
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=60, trust_env=False)


def test_an_application_that_does_not_start_stops_the_command():
    app, _ = application(starts=False)
    with listen("127.0.0.1", 0) as listener, pytest.raises(StartError) as stopped, served_beside(app, listener):
        pytest.fail("nothing is served")
    assert "did not start" in str(stopped.value)


def test_an_application_that_does_not_start_stops_a_command_that_only_serves():
    app, _ = application(starts=False)
    with listen("127.0.0.1", 0) as listener, pytest.raises(StartError) as stopped:
        serve_here(app, listener)
    assert "did not start" in str(stopped.value)


def test_a_signal_before_the_server_hears_any_is_an_orderly_end(monkeypatch):
    with listen("127.0.0.1", 0) as listener, orderly_end():
        monkeypatch.setattr("uvicorn.Server.serve", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(SystemExit) as ended:
            serve_here(lambda *_: None, listener)
    assert ended.value.code == 0


def test_a_busy_port_stops_the_command_and_names_the_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as stopped:
            listen("127.0.0.1", port)
        assert f"port {port}" in str(stopped.value)
        with listen_near("127.0.0.1", port) as listener:
            assert listener.getsockname()[1] != port


def test_a_host_that_is_none_stops_the_command():
    with pytest.raises(StartError):
        listen("256.256.256.256", 0)


def test_an_ipv6_address_is_shown_in_brackets():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = listen("::1", 0)
    except StartError:
        pytest.skip("this machine has no IPv6 loopback")
    with listener:
        assert address_of(listener).startswith("http://[::1]:")


GET = b"GET / HTTP/1.1\r\nHost: here\r\n"
GONE = (BrokenPipeError, ConnectionResetError)
TARGETS = {"one header": b"GET / HTTP/1.1\r\nX: ", "the path": b"GET /", "many headers": GET}
PIECES = {"one header": b"x" * 1000, "the path": b"x" * 1000, "many headers": b"X: %s\r\n" % (b"x" * 995)}


@contextmanager
def served(app):
    """Serve an application; gives a function that connects to it."""
    with listen("127.0.0.1", 0) as listener, served_beside(app, listener):
        yield lambda: socket.create_connection(listener.getsockname()[:2], timeout=60)


def until_closed(connection):
    received = b""
    while more := connection.recv(65536):
        received += more
    return received


def answer_of(connection):
    received = b""
    while b"\r\n\r\nok" not in received:
        more = connection.recv(65536)
        assert more, received
        received += more
    return received


@pytest.mark.parametrize("where", TARGETS)
def test_a_head_that_is_too_large_is_refused_before_it_is_complete(where):
    app, _ = application()
    with served(app) as connect, connect() as client:
        client.sendall(TARGETS[where])
        for _ in range(70):
            client.sendall(PIECES[where])
        assert until_closed(client).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_sends_on_is_cut_off():
    app, _ = application()
    with served(app) as connect, connect() as client:
        client.sendall(TARGETS["one header"])
        with pytest.raises(GONE):
            for _ in range(100_000):
                client.sendall(PIECES["one header"] * 10)


def test_a_head_of_sixty_kilobytes_is_served_and_so_is_the_next_on_the_same_connection():
    app, _ = application()
    with served(app) as connect, connect() as client:
        for _ in range(3):
            client.sendall(GET + b"X: %s\r\n" % (b"x" * 990) * 60 + b"\r\n")
            assert answer_of(client).startswith(b"HTTP/1.1 200 ")


def test_trailers_and_chunk_extensions_are_bounded_like_a_head():
    app, _ = application()
    with served(app) as connect:
        for endless in (b"0\r\nX: ", b"1;x="):
            with connect() as client, pytest.raises(GONE):
                client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
                for _ in range(100_000):
                    client.sendall(b"x" * 10_000)


def test_a_body_may_be_as_large_as_the_application_lets_it():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        body = str(size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    app_with_life, _ = application()

    async def both(scope, receive, send):
        await (app_with_life if scope["type"] == "lifespan" else app)(scope, receive, send)

    with listen("127.0.0.1", 0) as listener, served_beside(both, listener) as url:
        plain = httpx.post(url, content=b"x" * 2_000_000, timeout=60, trust_env=False)
        chunked = httpx.post(url, content=iter([b"x" * 100_000] * 20), timeout=60, trust_env=False)
        asked = httpx.post(url, content=b"x" * 200_000, headers={"Expect": "100-continue"}, timeout=60, trust_env=False)
    assert (plain.text, chunked.text, asked.text) == ("2000000", "2000000", "200000")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: he", id="half a head"),
        pytest.param(GET + b"\r\n" + b"GET", id="a request and a piece of the next"),
    ],
)
def test_a_connection_whose_head_does_not_come_is_closed(sent, monkeypatch):
    monkeypatch.setattr(BoundedHttp, "HEAD_SECONDS", 0.2)
    app, _ = application()
    with served(app) as connect, connect() as client:
        client.sendall(sent)
        assert until_closed(client).count(b"HTTP/1.1 200 ") == sent.count(b"Host: here\r\n\r\n")


@pytest.mark.parametrize("sent", [GET, b"\r\n"], ids=["half a head", "an empty line"])
def test_the_next_head_may_come_slowly_only_until_the_deadline(sent, monkeypatch):
    monkeypatch.setattr(BoundedHttp, "HEAD_SECONDS", 0.2)
    app, _ = application()
    with served(app) as connect, connect() as client:
        client.sendall(GET + b"\r\n")
        answer_of(client)
        client.sendall(sent)
        assert until_closed(client) == b""


def test_an_answer_that_takes_longer_than_a_head_may_is_not_cut_nor_is_the_request_behind_it(monkeypatch):
    monkeypatch.setattr(BoundedHttp, "HEAD_SECONDS", 0.2)
    begun, may_end = threading.Event(), threading.Event()
    plain, _ = application()

    async def app(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/slow":
            begun.set()
            await anyio.to_thread.run_sync(may_end.wait)
        await plain(scope, receive, send)

    with served(app) as connect, connect() as patient, connect() as hanging:
        patient.sendall(GET.replace(b"/ ", b"/slow ", 1) + b"\r\n" + GET + b"\r\n" + GET)
        assert begun.wait(60)
        hanging.sendall(GET)
        assert until_closed(hanging) == b"", "the deadline of the other connection is over as well"
        may_end.set()
        patient.sendall(b"\r\n")
        received = b""
        while received.count(b"\r\n\r\nok") < 3:
            more = patient.recv(65536)
            assert more, received
            received += more


def bounded(app, reached, **chosen):
    """An application that brings a register of connections with these bounds."""
    register = Connections(lambda: replace(Bounds(), **chosen), lambda: NO_PROXIES, reached.append)

    async def with_register(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"][CONNECTIONS] = register
        elif (place := place_of(scope)) is not None and scope["path"].startswith("/key"):
            place.prove(scope["path"], calling=True, spared=False)
        await app(scope, receive, send)

    return with_register


def served_once(client, path=b"/"):
    client.sendall(GET.replace(b"/ ", path + b" ", 1) + b"\r\n")
    return answer_of(client).startswith(b"HTTP/1.1 200 ")


def test_of_too_many_connections_the_oldest_idle_one_without_a_key_makes_room():
    reached: list[Bound] = []
    with served(bounded(application()[0], reached, connections=3)) as connect, connect() as keyed, connect() as idle:
        assert served_once(keyed, b"/key")
        assert served_once(idle)
        with connect() as third, connect() as fourth:
            assert served_once(third, b"/key")
            assert served_once(fourth)
            assert until_closed(idle) == b""
            assert served_once(keyed)
            assert served_once(third)
    assert reached == [Bound.CONNECTIONS]


def test_a_connection_that_never_had_an_answer_is_told_why_it_ends():
    with (
        served(bounded(application()[0], [], connections=1)) as connect,
        connect() as silent,
        connect() as other,
    ):
        assert served_once(other)
        assert until_closed(silent).startswith(b"HTTP/1.1 503 ")


def test_idle_connections_of_strangers_take_no_request_from_a_caller():
    reached: list[Bound] = []
    with (
        served(bounded(application()[0], reached, connections=40, address_connections=10)) as connect,
        ExitStack() as strangers,
        connect() as kept,
    ):
        assert served_once(kept, b"/key")
        for _ in range(120):
            strangers.enter_context(connect())
            assert served_once(kept, b"/key")
            with connect() as new:
                assert served_once(new, b"/key")
    assert len(reached) >= 120 - 40


HOSTS = {
    "none": (b"HTTP/1.1\r\n", 400),
    "two": (b"HTTP/1.1\r\nHost: here\r\nHost: here\r\n", 400),
    "two different ones": (b"HTTP/1.1\r\nHost: here\r\nhOST: there\r\n", 400),
    "one with a space": (b"HTTP/1.1\r\nHost: he re\r\n", 400),
    "two in a list": (b"HTTP/1.1\r\nHost: here, there\r\n", 400),
    "a URL": (b"HTTP/1.1\r\nHost: http://here/\r\n", 400),
    "one with a user": (b"HTTP/1.1\r\nHost: me@here\r\n", 400),
    "a path": (b"HTTP/1.1\r\nHost: here/there\r\n", 400),
    "a word for a port": (b"HTTP/1.1\r\nHost: here:http\r\n", 400),
    "a bracket that stays open": (b"HTTP/1.1\r\nHost: [::1\r\n", 400),
    "half an escape": (b"HTTP/1.1\r\nHost: he%2\r\n", 400),
    "letters beyond ASCII": (b"HTTP/1.1\r\nHost: h\xc3\xa9re\r\n", 400),
    "two of HTTP/1.0": (b"HTTP/1.0\r\nHost: here\r\nHost: here\r\n", 400),
    "an invalid one of HTTP/1.0": (b"HTTP/1.0\r\nHost: he re\r\n", 400),
    "a name": (b"HTTP/1.1\r\nHost: Here.example\r\n", 200),
    "a name with a port": (b"HTTP/1.1\r\nhost:here:8000\r\n", 200),
    "an underscore": (b"HTTP/1.1\r\nHost: key_ledger:8000\r\n", 200),
    "an IPv4 address": (b"HTTP/1.1\r\nHost: 127.0.0.1:80\r\n", 200),
    "an IPv6 address": (b"HTTP/1.1\r\nHost: [::1]:8000\r\n", 200),
    "an empty one": (b"HTTP/1.1\r\nHost:\r\n", 200),
    "none of HTTP/1.0": (b"HTTP/1.0\r\n", 200),
}


@pytest.fixture(scope="module")
def connect():
    with served(application()[0]) as connecting:
        yield connecting


@pytest.mark.parametrize("host", HOSTS)
def test_a_request_names_one_valid_host(host, connect):
    sent, status = HOSTS[host]
    with connect() as client:
        client.sendall(b"GET / " + sent + b"Connection: close\r\n\r\n")
        assert until_closed(client).startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_still_sends_its_body_receives_the_refusal_of_its_host(connect):
    with connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
        assert until_closed(client).startswith(b"HTTP/1.1 400 ")


def test_a_request_without_a_host_behind_one_under_way_gets_no_answer_into_the_other():
    begun, may_end = threading.Event(), threading.Event()
    plain, _ = application()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            begun.set()
            await anyio.to_thread.run_sync(may_end.wait)
        await plain(scope, receive, send)

    with served(app) as connect, connect() as client:
        client.sendall(GET + b"\r\n")
        assert begun.wait(60)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            assert until_closed(client) == b""
        except GONE:
            pass
        finally:
            may_end.set()


@pytest.mark.parametrize("keeps", [True, False], ids=["a connection that is kept", "one that closes"])
@pytest.mark.parametrize("size", [50_000_000, 8_000_000], ids=["far too much", "more than the system buffers"])
def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(size, keeps):
    reached, ended = Reached(), threading.Event()
    plain, _ = application()

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await plain(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await Pieces().send(send, {"type": "http.response.body", "body": b"x" * size})
        ended.set()

    closing = b"" if keeps else b"Connection: close\r\n"
    with served(bounded(app, reached, reader_seconds=0.2)) as connect, connect() as client:
        client.sendall(GET + closing + b"\r\n")
        assert reached.event.wait(60)
        assert ended.wait(60)
    assert reached == [Bound.READER]


class Reached(list):
    def __init__(self):
        super().__init__()
        self.event = threading.Event()

    def append(self, bound):
        super().append(bound)
        self.event.set()


def test_requests_sent_ahead_of_an_answer_are_kept_as_they_came(monkeypatch):
    monkeypatch.setattr(BoundedHttp, "HEAD_SECONDS", 0.2)
    begun, go_on = [], threading.Event()
    app, _ = application()

    async def waiting(scope, receive, send):
        if scope["type"] != "lifespan":
            begun.append(scope["path"])
            await anyio.to_thread.run_sync(go_on.wait)
        await app(scope, receive, send)

    parsed = []
    usual = BoundedHttp.on_headers_complete

    def counted(self: BoundedHttp) -> None:
        parsed.append(1)
        usual(self)

    monkeypatch.setattr(BoundedHttp, "on_headers_complete", counted)
    with served(waiting) as connect:
        with connect() as client:
            client.sendall(GET + b"\r\n")
            with pytest.raises(GONE):
                for _ in range(1000):
                    client.sendall((GET + b"\r\n") * 1000)
        assert len(begun) == 1
        assert len(parsed) < 4096 / len(GET) + 2
        go_on.set()
        with connect() as client:  # all are answered, if they are not too many
            client.sendall((GET + b"\r\n") * 1000 + GET + b"Connection: close\r\n\r\n")
            assert until_closed(client).count(b"\r\n\r\nok") == 1001


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_a_client_that_sent_requests_ahead_and_leaves_ends_the_one_under_way(later):
    begun, left = threading.Event(), threading.Event()
    app, _ = application()

    async def waiting(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    with served(waiting) as connect, connect() as client:
        client.sendall((GET + b"\r\n") * (1 if later else 3))
        assert begun.wait(60)
        if later:
            client.sendall((GET + b"\r\n") * 3)
        client.close()
        assert left.wait(60)
