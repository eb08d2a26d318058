"""A request that takes its connection over: what may follow it, what passes, and how the connection ends."""

import asyncio
import socket
from contextlib import contextmanager

import pytest

from api.front.bodies import Limits, refuse
from api.front.exchange import open_exchange
from api.front.problems import HttpError, problem_of
from api.front.proxies import NO_PROXIES
from api.front.web_socket.handshake import UPGRADE
from keyledger.serving.http_server import listen, served_beside

ASK = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def application(talk, before):
    """An application whose requests become `talk`, which receives the pipe, once `before` has ended."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        open_exchange(scope, NO_PROXIES)
        upgrade = scope["extensions"][UPGRADE]
        await before(upgrade)
        try:
            await send({"type": "http.response.start", "status": 101, "headers": [(b"x-own", b"1")]})
        except HttpError as error:
            await refuse(problem_of(error), scope, receive, send, Limits(linger_seconds=0.1))
            return
        await talk(upgrade.pipe)

    return app


async def at_once(upgrade):
    pass


async def until_followed(upgrade):
    while upgrade.is_clean():  # noqa: ASYNC110  nothing says when bytes have arrived
        await asyncio.sleep(0)


async def echo(pipe):
    while data := await pipe.read():
        await pipe.write(data)


@contextmanager
def serving(talk=echo, before=at_once):
    with (
        listen("127.0.0.1", 0) as listener,
        served_beside(application(talk, before), listener),
        socket.create_connection(listener.getsockname()[:2], timeout=60) as connection,
    ):
        yield connection


def head_of(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    return head


def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        assert more
        data += more
    return data


def test_a_connection_that_was_handed_over_carries_any_bytes_in_both_directions():
    with serving() as connection:
        connection.sendall(ASK)
        head = head_of(connection)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"x-own: 1\r\n" in head
        assert b"transfer-encoding" not in head
        for data in (b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 4000):
            connection.sendall(data)
            assert exactly(connection, len(data)) == data


def test_the_end_of_the_application_ends_the_connection_after_what_it_sent():
    async def leave(pipe):
        await pipe.write(b"x" * 500_000)

    with serving(leave) as connection:
        connection.sendall(ASK)
        head_of(connection)
        assert len(exactly(connection, 500_000)) == 500_000
        connection.sendall(b"still talking")
        assert connection.recv(1) == b""


def test_a_client_that_leaves_ends_the_pipe():
    ended = []

    async def listen_to(pipe):
        ended.append(await pipe.read())

    with serving(listen_to) as connection:
        connection.sendall(ASK)
        head_of(connection)
    assert ended == [b""]


BEHIND = {
    "a frame": b"\x81\x80maskx",
    "another request": b"GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n",
    "half of one": b"GET /smuggled HT",
    "one byte": b"G",
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=list(BEHIND))
def test_nothing_may_come_with_the_request(behind):
    with serving() as connection:
        connection.sendall(ASK + behind)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
    assert b"101 Switching" not in received
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


def test_a_request_that_comes_before_the_answer_keeps_the_connection_from_being_handed_over():
    with serving(before=until_followed) as connection:
        connection.sendall(ASK)
        connection.sendall(BEHIND["another request"] * 2)
        received = connection.recv(65536)
    assert b"101 Switching" not in received
