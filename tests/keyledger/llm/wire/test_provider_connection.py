"""One connection that several calls use: each has its own answer, however their tasks are interleaved."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.wire import provider_connection
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.provider_connection import ProviderConnection
from keyledger.llm.wire.purpose import Purpose

PURPOSE = Purpose("tenant", "openai", 1, b"digest", "http", "provider", 80)


class FakeTransport:
    """A transport that notes what happens to it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str) -> Any:
        return None


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    monkeypatch.setattr(provider_connection, "_waiting_in", lambda socket: lambda: False)
    return FakeTransport()


def connected(transport: FakeTransport) -> ProviderConnection:
    connection = ProviderConnection(SimpleNamespace(), PURPOSE, 4.0, IdleConnections())
    connection.connection_made(cast(Any, transport))
    return connection


def asked(connection: ProviderConnection) -> Coroutine[Any, Any, ProviderAnswer]:
    return connection.ask(b"GET / HTTP/1.1\r\n\r\n", None, Observation(), bodiless=False, chunked=False)


def arrive(connection: ProviderConnection, data: bytes) -> None:
    for start in range(0, len(data), 16 * 1024):
        piece = data[start : start + 16 * 1024]
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))


def answer_with(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def whole(answer: ProviderAnswer) -> bytes:
    pieces = []
    while piece := await answer.content.read(10_000):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_call_that_begins_before_the_one_before_it_runs_again_has_its_own_answer(transport):
    async def run() -> None:
        connection = connected(transport)
        first = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        arrive(connection, answer_with(b"first"))  # its task is ready, and has not run
        connection.take()
        second = asked(connection)
        waits = second.send(None)
        assert await whole(await first) == b"first"
        arrive(connection, answer_with(b"second"))
        assert waits.done()
        with pytest.raises(StopIteration) as returned:
            second.send(None)
        assert await whole(returned.value.value) == b"second"

    asyncio.run(run())


def test_a_call_that_is_cancelled_after_its_answer_leaves_the_connection_to_the_next(transport):
    async def run() -> None:
        connection = connected(transport)
        first = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        arrive(connection, answer_with(b"first"))
        connection.take()
        second = asyncio.ensure_future(asked(connection))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(0)
        arrive(connection, answer_with(b"second"))
        assert await whole(await second) == b"second"
        assert not transport.closed

    asyncio.run(run())


def test_a_call_that_is_cancelled_before_its_answer_closes_the_connection(transport):
    async def run() -> None:
        call = asyncio.create_task(asked(connected(transport)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert transport.closed

    asyncio.run(run())


def test_closing_an_answer_after_its_end_does_not_touch_the_call_after_it(transport):
    async def run() -> None:
        connection = connected(transport)
        first = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        arrive(connection, answer_with(b"first"))
        answer = await first
        connection.take()
        second = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        answer.close()
        assert not transport.closed
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    asyncio.run(run())


def test_a_long_answer_that_no_one_reads_stops_the_reading_of_its_connection_until_its_end(transport):
    async def run() -> None:
        connection = connected(transport)
        call = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        body = bytes(50_000)
        data = answer_with(body)
        arrive(connection, data[:40_000])
        assert not transport.reading
        answer = await call
        assert len(await answer.content.read(40_000)) > 30_000
        assert transport.reading, "it is read again once the reader has taken what waited"
        arrive(connection, data[40_000:])
        assert transport.reading, "the next call must not find it stopped"

    asyncio.run(run())


def test_an_answer_nothing_refers_to_any_more_ends_its_connection(transport):
    async def run() -> None:
        connection = connected(transport)
        call = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        arrive(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        answer = await call
        del answer, call
        await asyncio.sleep(0)  # the turn that ran this task refers to the call
        assert transport.closed

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "connection-lost"),
        (b"HTTP/1.1 200 OK\r\n", "connection-lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "answer-cut-off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "answer-cut-off"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", None),
    ],
)
def test_what_arrived_before_a_cut_is_read_and_then_why_there_is_no_more(transport, sent, reason):
    async def run() -> tuple[bytes, str | None]:
        connection = connected(transport)
        call = asyncio.create_task(asked(connection))
        await asyncio.sleep(0)
        if sent:
            arrive(connection, sent)
        connection.connection_lost(None)
        got = b""
        try:
            answer = await call
            while piece := await answer.content.read(2):
                got += piece
        except InvalidAnswerError as error:
            return got, error.reason
        return got, None

    assert asyncio.run(run()) == (b"abc" if b"abc" in sent else b"", reason)
