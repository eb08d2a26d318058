"""The proxy of `make prove` does to a connection what each of its names says."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.prove.proxy import Network, proxy


@contextmanager
def echoing() -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers each piece with the same; gives its port, and what it received."""
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(100):
                    received.append(piece)
                    connection.sendall(piece)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def said(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(100)


def ended(connection: socket.socket) -> bool:
    """Whether the other side ended the connection, in good order or not."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        yield connection


def test_a_good_network_passes_everything():
    with echoing() as (port, _), proxy("127.0.0.1", port) as network, connected(network.port) as connection:
        assert said(connection, b"hello") == b"hello"


def test_a_cut_ends_connections_and_accepts_none():
    with echoing() as (port, received), proxy("127.0.0.1", port) as network:
        with connected(network.port) as connection:
            assert said(connection, b"hello") == b"hello"
            network.behave(Network.CUT)
            assert ended(connection)
        with connected(network.port) as another:
            assert ended(another)
        assert received == [b"hello"]


@pytest.mark.parametrize(
    ("network", "arrives"),
    [
        pytest.param(Network.HALF_OPEN, [], id="nothing arrives"),
        pytest.param(Network.ONE_WAY, [b"hello"], id="only the request arrives"),
        pytest.param(Network.DRIP, [b"h"], id="only the first byte arrives at once"),
    ],
)
def test_a_spoiled_network_ends_its_connections_once_it_is_good_again(network, arrives):
    with echoing() as (port, received), proxy("127.0.0.1", port) as made:
        with connected(made.port) as connection:
            made.behave(network)
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                said(connection, b"hello")
                connection.recv(100)
            made.clear()
            connection.settimeout(30)
            assert ended(connection)
        assert received[:1] == arrives
        with connected(made.port) as another:
            assert said(another, b"again") == b"again"
