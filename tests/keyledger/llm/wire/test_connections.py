"""Kept connections to a provider that misbehaves: each call gets the answer to its own request."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from domain.calls.native import BODILESS_METHODS, NativeAnswer, NativeCall
from domain.credentials.resolution import Receipt, ResolvedCredential, Route, Source
from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.errors import ServiceError
from keyledger.llm import CallConfiguration, PassThrough, Timeouts
from keyledger.llm.answers.bounds import MIB
from keyledger.llm.wire import connector
from keyledger.llm.wire.idle_connections import DISTRUST_S, IdleConnections
from keyledger.llm.wire.turns import Turns
from tests.keyledger.llm.rig import Keys, catalogue
from tests.support.meter import ListeningMeter
from tests.support.scripted_provider import Asked, Line, Misbehaviour, ScriptedProvider, answer_to, scripted_provider

A, B = str(uuid4()), str(uuid4())
FOLLOWING = 20
"""Calls of each tenant after every misbehaviour."""
PLANTED = answer_to("planted")


@dataclass
class Credentials(Keys):
    """A resolver with a key and a version for each tenant; version None stands for the global key."""

    versions: dict[str, int | None] = field(default_factory=lambda: {A: 1, B: 1})

    async def resolve(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: object = None
    ) -> ResolvedCredential:
        route: Route = await self.explain(tenant_id, provider, tenant_capable=tenant_capable)
        version = self.versions[tenant_id]
        receipt = Receipt(Source.TENANT if version else Source.GLOBAL, provider, version)
        return ResolvedCredential(replace(route, receipt=receipt), Secret(self.keys[tenant_id]))


@dataclass
class Rig:
    """Calls of two tenants, A and B, to one provider. closed: the kept connections that were closed, by reason."""

    provider: ScriptedProvider
    credentials: Credentials
    apis: PassThrough
    registry: CollectorRegistry

    async def call(self, tenant: str, mark: str | None = None, method: str = "POST", **more: Any) -> str:
        """Make a call and return the mark of its answer."""
        mark = mark or uuid4().hex
        headers = [(b"x-mark", mark.encode())]
        answer = await self.apis.call(NativeCall(tenant, "openai", method, "v1/things", headers=headers, **more))
        return str(json.loads(await _body(answer))["mark"])

    async def chat(self, tenant: str, mark: str) -> str:
        """Make a call that the global key may serve, and return the mark of its answer."""
        body = json.dumps({"model": "up/openai-model", "messages": [{"role": "user", "content": mark}]}).encode()
        headers = [(b"content-type", b"application/json")]
        answer = await self.apis.call(NativeCall(tenant, "openai", "POST", "v1/chat/completions", "", headers, body))
        return str(json.loads(await _body(answer))["mark"])

    async def follow(self) -> None:
        """Make calls of both tenants; each must receive its own answer, on a connection that carried one key."""
        for _ in range(FOLLOWING):
            for tenant in (A, B):
                mark = uuid4().hex
                with_global_key = self.credentials.versions[tenant] is None
                assert await (self.chat if with_global_key else self.call)(tenant, mark) == mark
        assert all(len(keys) == 1 for keys in self.provider.keys_of_lines)

    @property
    def idle(self) -> float | None:
        return self.registry.get_sample_value("keyledger_provider_connections_idle")

    def closed(self, reason: str) -> float | None:
        return self.registry.get_sample_value("keyledger_provider_connections_closed_total", {"reason": reason})


async def _body(answer: NativeAnswer) -> bytes:
    if answer.pieces is None:
        return answer.whole or b""
    pieces = []
    while (piece := await answer.pieces.next()) is not None:
        pieces.append(piece)
    return b"".join(pieces)


@asynccontextmanager
async def rig(most: int = 256) -> AsyncIterator[Rig]:
    async with scripted_provider() as provider:
        credentials = Credentials(provider.url, {A: "sk-key-of-tenant-a", B: "sk-key-of-tenant-b"})
        configuration = CallConfiguration(catalogue(), credentials, EndpointRules())
        registry = CollectorRegistry()
        idle = IdleConnections(lambda: most, registry)
        apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), meter=ListeningMeter(), idle=idle)
        try:
            yield Rig(provider, credentials, apis, registry)
        finally:
            await apis.stop()


def with_rig(use: Callable[[Rig], Awaitable[None]], **options: int) -> None:
    async def run() -> None:
        async with rig(**options) as one:
            await use(one)

    asyncio.run(run())


STRAYS = {
    "a whole answer": PLANTED,
    "two answers": PLANTED * 2,
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a head without its body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
    "one byte": b"H",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "the end of a chunked body": b"0\r\n\r\n",
    "a body": b'{"mark": "planted"}',
    "a line end": b"\r\n",
}


def at_once(stray: bytes) -> Misbehaviour:
    """After the body, in the same segment."""

    async def misbehave(line: Line, asked: Asked) -> None:
        line.send(answer_to("evil"), stray)

    return misbehave


def with_the_body(stray: bytes) -> Misbehaviour:
    """The head first; the body in one segment with the stray bytes, once the caller has the head."""

    async def misbehave(line: Line, asked: Asked) -> None:
        head, _, body = answer_to("evil").partition(b"\r\n\r\n")
        line.send(head, b"\r\n\r\n")
        await _turns()
        line.send(body, stray)

    return misbehave


def in_front_of_the_body(stray: bytes) -> Misbehaviour:
    """Between head and body."""

    async def misbehave(line: Line, asked: Asked) -> None:
        head, _, body = answer_to("evil").partition(b"\r\n\r\n")
        line.send(head, b"\r\n\r\n", stray, body)

    return misbehave


async def _turns() -> None:
    """Let the caller, on the same loop, read what was sent."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _evil(rig: Rig, method: str = "POST", **more: Any) -> None:
    """Make a call that meets the misbehaviour; it may succeed or fail, since its own provider decides."""
    try:
        await rig.call(A, "evil", method, **more)
    except (ServiceError, ValueError, KeyError):
        return


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
@pytest.mark.parametrize("moment", [at_once, with_the_body, in_front_of_the_body])
def test_bytes_that_come_with_an_answer_reach_no_other_call(moment, stray):
    async def use(rig: Rig) -> None:
        rig.provider.misbehave = moment(stray)
        await rig.follow()
        await _evil(rig)
        await rig.follow()

    with_rig(use)


@pytest.mark.parametrize("stray", [one for one in STRAYS.values() if one != b"\r\n"])
@pytest.mark.parametrize("moment", [at_once, with_the_body])
def test_a_connection_on_which_bytes_follow_an_answer_serves_no_other_call(moment, stray):
    """An empty line may precede an answer, so a parser skips it."""

    async def use(rig: Rig) -> None:
        rig.provider.misbehave = moment(stray)
        await _evil(rig)
        await rig.call(A)
        assert [len(line.asked) for line in rig.provider.lines] == [1, 1]

    with_rig(use)


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_a_connection_is_closed_as_soon_as_anything_arrives_while_it_is_kept(stray):
    async def use(rig: Rig) -> None:
        assert await rig.call(A, "first") == "first"
        (line,) = rig.provider.lines
        line.send(stray)
        await line.gone.wait()
        assert (rig.idle, rig.closed("unexpected-data")) == (0, 1)
        await rig.follow()

    with_rig(use)


async def _stray_on_an_idle_connection(rig: Rig) -> None:
    await rig.call(A)
    rig.provider.lines[0].send(PLANTED)
    await rig.provider.lines[0].gone.wait()


async def _stray_in_one_piece_with_the_answer(rig: Rig) -> None:
    async def misbehave(line: Line, asked: Asked) -> None:
        line.send(answer_to("evil"), PLANTED)

    rig.provider.misbehave = misbehave
    await rig.call(A, "evil")
    await rig.provider.lines[0].gone.wait()
    assert rig.closed("unexpected-data") == 1


@pytest.mark.parametrize("misbehave", [_stray_on_an_idle_connection, _stray_in_one_piece_with_the_answer])
def test_a_tenant_s_connections_are_not_kept_for_a_minute_after_an_answer_too_many(misbehave):
    async def use(rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        real, offset = loop.time, 0.0
        loop.time = lambda: real() + offset  # type: ignore[method-assign]
        await misbehave(rig)
        for _ in range(3):
            await rig.call(A)
            await rig.call(B)
        assert sorted(len(line.asked) for line in rig.provider.lines) == [1, 1, 1, 1, 3]
        offset = DISTRUST_S + 1
        await rig.call(A)
        await rig.call(A)
        assert len(rig.provider.lines[-1].asked) == 2

    with_rig(use)


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_bytes_that_the_event_loop_has_not_read_yet_are_noticed_before_a_call_begins(stray):
    async def use(rig: Rig) -> None:
        assert await rig.call(A, "first") == "first"
        rig.provider.lines[0].send(stray)  # no turn of the loop between this and the call
        assert await rig.call(A, "second") == "second"
        assert len(rig.provider.lines) == 2
        assert rig.closed("stale") == 1

    with_rig(use)


@pytest.mark.parametrize("stray", [one for one in STRAYS.values() if one != b"\r\n"])
def test_a_provider_that_speaks_before_it_is_asked_misleads_no_other_call(stray):
    async def use(rig: Rig) -> None:
        rig.provider.greeting = stray
        await _evil(rig)
        rig.provider.greeting = b""
        await _turns()
        await rig.follow()

    with_rig(use)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MISFRAMED = {
    "longer than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 6\r\n\r\nabcdef",
    "a length and chunks": CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "bytes after trailers": CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n" + PLANTED,
    "a chunk size without digits": CHUNKED + b"zz\r\na\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
    "bytes after the last chunk": CHUNKED + b"1\r\na\r\n0\r\n\r\nHTTP/1.1 2",
    "no body, with one": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nabcde" + PLANTED,
    "not modified, with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 90\r\n\r\n" + PLANTED,
    "HTTP 1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + PLANTED,
    "interim answers first": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 50 + answer_to("evil"),
    "an end announced and not made": answer_to("evil", "Connection: close") + PLANTED,
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
}


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("answer", MISFRAMED.values(), ids=MISFRAMED)
def test_a_misframed_answer_misleads_no_other_call(answer, method):
    async def use(rig: Rig) -> None:
        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(answer)

        rig.provider.misbehave = misbehave
        await _evil(rig, method)
        await _turns()
        await rig.follow()

    with_rig(use)


def test_an_answer_that_ends_with_its_connection_is_read_to_its_end():
    async def use(rig: Rig) -> None:
        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(b'HTTP/1.1 200 OK\r\n\r\n{"mark": "evil"}')
            line.writer.close()

        rig.provider.misbehave = misbehave
        assert await rig.call(A, "evil") == "evil"
        assert rig.idle == 0
        await rig.follow()

    with_rig(use)


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", EARLY_HINTS], ids=["100", "103"])
def test_a_flood_of_interim_answers_ends_the_call(interim):
    async def use(rig: Rig) -> None:
        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(interim * (100_000 // len(interim)), answer_to("evil"))
            await line.ended()

        rig.provider.misbehave = misbehave
        with pytest.raises(ServiceError, match="answer-head-too-large"):
            await rig.call(A, "evil", "GET")
        assert len([one for line in rig.provider.lines for one in line.asked]) == 1
        await rig.follow()

    with_rig(use)


USUAL = {
    "three bytes": (b"abc", 50_000),
    "short events": (b"data: 1\n\n", 5_000),
    "events": (b'data: {"choices":[{"delta":{"content":" a"}}]}\n\n', 5_000),
    "long pieces": (b"x" * 30_000, 100),
}


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"2\r\nxx\r\n", b"1;name=value\r\nx\r\n", b"00000001\r\nx\r\n"])
def test_an_answer_in_tiny_chunks_is_broken_off(chunk):
    async def use(rig: Rig) -> None:
        sent: list[int] = []

        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(CHUNKED)
            for _ in range(300):
                line.send(chunk * 10_000)
                sent.append(10_000)
                await line.writer.drain()
            line.send(b"0\r\n\r\n")
            await line.ended()

        rig.provider.misbehave = misbehave
        with pytest.raises(ServiceError, match="answer-chunks-too-small"):
            await rig.call(A, "evil")
        assert sum(sent) < 3_000_000
        assert rig.idle == 0
        await rig.follow()

    with_rig(use)


@pytest.mark.parametrize(("piece", "times"), USUAL.values(), ids=USUAL)
def test_an_answer_in_usual_chunks_passes_whole(piece, times):
    async def use(rig: Rig) -> None:
        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(EARLY_HINTS * 20, CHUNKED.replace(b"OK", b"OK\r\nContent-Type: text/event-stream", 1))
            for _ in range(times // 100):
                line.send(_chunk(piece) * 100)
                await line.writer.drain()
            line.send(b"0\r\n\r\n")

        rig.provider.misbehave = misbehave
        headers = [(b"x-mark", b"evil")]
        answer = await rig.apis.call(NativeCall(A, "openai", "POST", "v1/things", headers=headers))
        assert await _body(answer) == piece * times
        assert rig.idle == 1

    with_rig(use)


def test_the_smaller_the_chunks_of_an_answer_the_less_of_it_is_read_in_one_turn(monkeypatch):
    turns: list[tuple[str, ...]] = []
    wait = Turns.wait

    async def counted(self: Turns, names: tuple[str, ...]) -> None:
        turns.append(names)
        await wait(self, names)

    def of(piece: bytes, times: int) -> int:
        async def use(rig: Rig) -> None:
            async def misbehave(line: Line, asked: Asked) -> None:
                line.send(CHUNKED, _chunk(piece) * times, b"0\r\n\r\n")

            rig.provider.misbehave = misbehave
            answer = await rig.apis.call(NativeCall(A, "openai", "POST", "v1/things", headers=[(b"x-mark", b"evil")]))
            assert await _body(answer) == piece * times

        turns.clear()
        with_rig(use)
        return len(turns)

    monkeypatch.setattr(Turns, "wait", counted)
    assert of(b"x" * 30_000, 5) <= 5
    assert of(b"abc", 50_000) >= 50
    assert of(b"abc", 5_000) >= 5, "also where the whole of it has arrived"


@pytest.mark.parametrize("size", [10, 8 * 1024 * 1024], ids=["short", "long"])
def test_an_answer_before_the_request_has_been_sent_ends_the_connection(size):
    async def use(rig: Rig) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * (size - 1)
            await asyncio.Event().wait()  # the answer comes first

        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(answer_to("evil"))
            await line.ended()
            line.gone.set()

        rig.provider.misbehave = misbehave
        assert await rig.call(A, "evil", body=pieces(), length=size) == "evil"
        await rig.provider.lines[0].gone.wait()
        assert rig.idle == 0
        await rig.follow()

    with_rig(use)


def test_a_body_that_a_provider_takes_for_a_request_misleads_no_other_call():
    async def use(rig: Rig) -> None:
        stolen: list[Asked] = []

        async def misbehave(line: Line, asked: Asked) -> None:
            line.send(answer_to("evil"))  # it ignores that there is a body
            await _turns()
            stolen.append(Asked(await line.reader.readuntil(b"\r\n\r\n")))
            line.send(answer_to("of the hidden request"))
            stolen.append(Asked(b"", await line.reader.read(1000)))  # it waits for that one's body

        rig.provider.misbehave = misbehave
        await rig.follow()
        hidden = b"POST /v1/files HTTP/1.1\r\nAuthorization: Bearer sk-another-account\r\nContent-Length: 400\r\n\r\n"
        await _evil(rig, body=hidden)
        await _turns()
        await rig.follow()
        assert [one.key for one in stolen] == ["sk-another-account", ""]
        assert stolen[1].body == b""  # no other request ran into it

    with_rig(use)


@pytest.mark.parametrize("method", sorted(BODILESS_METHODS))
def test_no_body_leaves_with_a_method_that_has_none(method):
    async def use(rig: Rig) -> None:
        with pytest.raises(ServiceError, match="body-not-sent"):
            await rig.call(A, method=method, body=b"GET / HTTP/1.1\r\n\r\n")
        assert rig.provider.lines == []

    with_rig(use)


async def _two() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


FRAMING = {
    "no body": ({}, {b"content-length: 0"}),
    "a whole body": ({"body": b"onetwo"}, {b"content-length: 6"}),
    "a whole body that is long": ({"body": bytes(2 * MIB)}, {b"content-length: 2097152"}),
    "pieces of a known length": ({"body": _two, "length": 6}, {b"content-length: 6"}),
    "pieces of an unknown length": ({"body": _two}, {b"transfer-encoding: chunked"}),
}


@pytest.mark.parametrize("given", FRAMING.values(), ids=FRAMING)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_exactly_one_header_frames_a_request_whatever_the_caller_sends(given, method):
    async def use(rig: Rig) -> None:
        body, expected = given
        body = {name: value() if callable(value) else value for name, value in body.items()}
        theirs = [(b"content-length", b"999"), (b"transfer-encoding", b"chunked"), (b"te", b"trailers")]
        theirs += [(b"trailer", b"x"), (b"expect", b"100-continue"), (b"upgrade", b"h2c"), (b"connection", b"te")]
        heads: list[bytes] = []

        async def look(line: Line, asked: Asked) -> None:
            heads.append(asked.head)
            line.send(answer_to("evil", "Connection: close"))
            await line.ended()

        rig.provider.misbehave = look
        call = NativeCall(A, "openai", method, "v1/things", headers=[*theirs, (b"x-mark", b"evil")], **body)
        await rig.apis.call(call)
        lines = {line.lower() for line in heads[0].split(b"\r\n")[1:]}
        framing = (b"content-length", b"transfer-encoding", b"te:", b"trailer", b"expect", b"upgrade", b"connection")
        assert {line for line in lines if line.startswith(framing)} == expected

    with_rig(use)


def test_a_tenant_s_connection_serves_its_next_call_and_no_other_tenant_s():
    async def use(rig: Rig) -> None:
        await rig.follow()
        assert sorted(len(line.asked) for line in rig.provider.lines) == [FOLLOWING, FOLLOWING]
        rig.credentials.keys = {A: "sk-shared", B: "sk-shared"}
        rig.credentials.versions = {A: None, B: None}  # both use the global key now
        await rig.follow()
        assert sorted(len(line.asked) for line in rig.provider.lines) == [FOLLOWING] * 4

    with_rig(use)


@pytest.mark.parametrize(
    ("key", "version"), [("sk-new", 2), ("sk-key-of-tenant-a", 2), ("sk-new", 1)], ids=["both", "version", "key"]
)
def test_after_a_credential_is_replaced_its_connections_are_closed_at_the_next_call(key, version):
    async def use(rig: Rig) -> None:
        await rig.call(A)
        await rig.call(B)
        old, of_b = rig.provider.lines
        rig.credentials.keys = {**rig.credentials.keys, A: key}
        rig.credentials.versions = {**rig.credentials.versions, A: version}
        await rig.call(A)
        await old.gone.wait()
        assert (len(old.asked), rig.closed("replaced")) == (1, 1)
        await rig.call(B)
        assert len(of_b.asked) == 2

    with_rig(use)


def test_a_call_of_the_version_before_ends_its_connection_when_it_ends():
    async def use(rig: Rig) -> None:
        begun, replaced = asyncio.Event(), asyncio.Event()

        async def late(line: Line, asked: Asked) -> None:
            begun.set()
            await replaced.wait()
            line.send(answer_to("evil"))

        rig.provider.misbehave = late
        call = asyncio.create_task(rig.call(A, "evil"))
        await begun.wait()
        rig.credentials.versions = {**rig.credentials.versions, A: 2}
        await rig.call(A)
        replaced.set()
        assert await call == "evil"
        await rig.provider.lines[0].gone.wait()
        assert rig.idle == 1

    with_rig(use)


def test_beyond_the_bound_the_connection_that_was_idle_longest_is_closed():
    async def use(rig: Rig) -> None:
        await rig.call(A)
        await rig.call(B)
        await rig.provider.lines[0].gone.wait()
        assert (rig.idle, rig.closed("limit")) == (1, 1)
        await rig.call(B)
        assert len(rig.provider.lines) == 2

    with_rig(use, most=1)


def test_no_connection_is_kept_where_the_bound_is_zero():
    async def use(rig: Rig) -> None:
        await rig.follow()
        assert [len(line.asked) for line in rig.provider.lines] == [1] * 2 * FOLLOWING
        assert rig.idle == 0

    with_rig(use, most=0)


@pytest.mark.parametrize(
    ("stated", "kept"),
    [("timeout=2", 1), ("max=5, timeout=3", 2), ("timeout=600", 4), ("timeout=1", 0), ("x", 4), ("timeout=-1", 4)],
)
def test_a_connection_is_kept_no_longer_than_the_provider_announces(stated, kept, monkeypatch):
    async def use(rig: Rig) -> None:
        async def announce(line: Line, asked: Asked) -> None:
            line.send(answer_to("evil", f"Keep-Alive: {stated}"))

        rig.provider.misbehave = announce
        loop = asyncio.get_running_loop()
        real = loop.time
        offset = 0.0
        loop.time = lambda: real() + offset  # type: ignore[method-assign]
        await rig.call(A, "evil")
        offset = max(0, kept - 0.5)
        await rig.call(A, "evil")
        assert len(rig.provider.lines) == (1 if kept else 2)
        offset += kept + 0.5
        await rig.call(A, "evil")
        assert len(rig.provider.lines) == (2 if kept else 3)

    with_rig(use)


def test_a_connection_that_was_idle_too_long_is_closed_though_no_call_comes(monkeypatch):
    monkeypatch.setattr(connector, "KEEP_ALIVE", 0.0)
    monkeypatch.setattr("keyledger.llm.wire.idle_connections._SWEEP_S", 0.0)

    async def use(rig: Rig) -> None:
        await rig.call(A)
        await rig.provider.lines[0].gone.wait()
        assert (rig.idle, rig.closed("expired")) == (0, 1)

    with_rig(use)


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_a_call_does_not_fail_because_the_provider_has_just_closed_its_connection(method):
    async def use(rig: Rig) -> None:
        await rig.call(A)
        rig.provider.lines[0].writer.get_extra_info("socket").shutdown(socket.SHUT_WR)  # no turn of the loop after it
        assert await rig.call(A, "second", method) == "second"

    with_rig(use)


@pytest.mark.parametrize(
    ("method", "kept", "attempts"),
    [("GET", True, 2), ("PUT", True, 2), ("POST", True, 1), ("GET", False, 1), ("PUT", False, 1), ("POST", False, 1)],
)
def test_only_an_idempotent_request_on_a_kept_connection_is_sent_again_when_that_ends_without_an_answer(
    method, kept, attempts
):
    async def use(rig: Rig) -> None:
        if kept:
            await rig.call(A)
        asked: list[str] = []

        async def end(line: Line, one: Asked) -> None:
            asked.append(one.mark)
            if len(asked) == 1:
                line.writer.transport.abort()
            else:
                line.send(answer_to("evil"))

        rig.provider.misbehave = end
        if attempts == 2:
            assert await rig.call(A, "evil", method) == "evil"
        else:
            with pytest.raises(ServiceError, match="connection-lost"):
                await rig.call(A, "evil", method)
        assert len(asked) == attempts

    with_rig(use)


def test_a_request_whose_answer_has_begun_is_not_sent_again():
    async def use(rig: Rig) -> None:
        await rig.call(A)
        asked: list[str] = []

        async def begin(line: Line, one: Asked) -> None:
            asked.append(one.mark)
            line.send(b"HTTP/1.1 200 OK\r\n")
            await _turns()
            line.writer.transport.abort()

        rig.provider.misbehave = begin
        with pytest.raises(ServiceError, match="connection-lost"):
            await rig.call(A, "evil", "GET")
        assert asked == ["evil"]

    with_rig(use)
