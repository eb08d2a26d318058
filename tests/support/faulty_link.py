"""A link between the service and PostgreSQL that can lose a request, lose an answer, or fall silent."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit


class Fault(StrEnum):
    """A fault for the next request that contains the mark: the connection is lost, or both directions fall silent."""

    REQUEST_LOST = "the request is lost, before the effect"
    ANSWER_LOST = "the answer is lost, after the effect"
    SILENCE_BEFORE = "silence before the effect"
    SILENCE_AFTER = "silence after the effect"


class FaultyLink:
    """A TCP proxy in front of a PostgreSQL on a Unix socket. Accepts any number of connections."""

    def __init__(self, database_url: str) -> None:
        url = urlsplit(database_url)
        query = parse_qs(url.query)
        self._target = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{url.username}@127.0.0.1:{port}{url.path}?sslmode=disable&gssencmode=disable"
        self.faults_met = 0
        self._mark = b""
        self._fault: Fault | None = None
        self._last: Fault | None = None
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def break_next(self, mark: str, fault: Fault) -> None:
        with self._lock:
            self._mark, self._fault = mark.encode(), fault

    def close(self) -> None:
        for end in (self._listener, *self._open):
            _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open += [client, server]
            muted = threading.Event()
            threading.Thread(target=self._forward_requests, args=(client, server, muted), daemon=True).start()
            threading.Thread(target=self._forward_answers, args=(client, server, muted), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                fault = self._fault_for(data)
                if fault is None:
                    server.sendall(data)
                    continue
                muted.set()
                if fault in {Fault.ANSWER_LOST, Fault.SILENCE_AFTER}:
                    server.sendall(data)
                if fault is Fault.ANSWER_LOST:
                    server.recv(1)  # the server has begun to answer: the effect is there
                if fault in {Fault.ANSWER_LOST, Fault.REQUEST_LOST}:
                    break
        if not muted.is_set() or self._last in {Fault.ANSWER_LOST, Fault.REQUEST_LOST}:
            _shut(client)
            _shut(server)

    def _forward_answers(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536, socket.MSG_PEEK):
                if muted.is_set():
                    return
                client.sendall(server.recv(len(data)))
        if not muted.is_set():
            _shut(client)

    def _fault_for(self, data: bytes) -> Fault | None:
        with self._lock:
            if self._fault is None or self._mark not in data:
                return None
            fault, self._fault = self._fault, None
            self.faults_met += 1
            self._last = fault
            return fault


@contextmanager
def faulty_link(database_url: str) -> Iterator[FaultyLink]:
    link = FaultyLink(database_url)
    try:
        yield link
    finally:
        link.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
