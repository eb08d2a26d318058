"""The wire sends one request, under a lease, to one origin, and reads its answer within limits."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from yarl import URL

from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from keyledger.llm.answers.bounds import Bounds
from keyledger.llm.requests.origin import BEARER, origin_of
from keyledger.llm.requests.prepared import Prepared, encoded
from keyledger.llm.wire.dispatch import CallFailedError, Timeouts
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.wire import Wire, whole
from scripts.demo.stand_in_provider import StandInProvider
from tests.keyledger.llm.rig import HELLO, KEY, TENANT, stand_in
from tests.support.loopback import serving

CHAT = encoded({"model": "m", "messages": HELLO})


@pytest.fixture
def server() -> Iterator[StandInProvider]:
    with stand_in() as running:
        yield running


def lease_for(server: StandInProvider, *, streaming: bool = False) -> Lease:
    return Lease(
        origin_of(URL(server.url)),
        BEARER,
        Secret(KEY),
        owner=Owner(TENANT, "openai", 1),
        checked=False,
        streaming=streaming,
    )


def send(lease: Lease, *urls: str, wire: Wire | None = None, headers: tuple[tuple[str, str], ...] = ()) -> Any:
    """Send a chat to each URL under one lease and return the last answer."""

    async def run() -> Any:
        used = wire or Wire(EndpointRules)
        try:
            for url in urls:
                await used.send(lease, url, Prepared(CHAT, headers))
            return await whole(lease)
        finally:
            lease.close()
            lease.drop_answer()
            await used.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/v1/chat/completions",
        "https://127.0.0.1:{port}/v1/chat/completions",
        "http://127.0.0.1:1/v1/chat/completions",
    ],
)
def test_another_origin_gets_nothing(server, url):
    lease = lease_for(server)
    with pytest.raises(CallFailedError, match="foreign-origin"):
        send(lease, url.format(port=lease.origin.port))
    assert server.requests == []
    assert lease.observation.failure == "foreign-origin"


def test_a_second_request_is_not_sent_and_does_not_hide_how_the_first_went(server):
    lease = lease_for(server)
    with pytest.raises(CallFailedError, match="second-request"):
        send(lease, f"{server.url}/v1/chat/completions", f"{server.url}/v1/chat/completions")
    assert len(server.requests) == 1
    assert (lease.observation.status, lease.observation.failure) == (200, None)


def test_a_closed_lease_serves_nothing_and_holds_no_key(server):
    lease = lease_for(server)
    send(lease, f"{server.url}/v1/chat/completions")
    assert lease.secret is None
    with pytest.raises(CallFailedError, match="lease-closed"):
        send(lease, f"{server.url}/v1/chat/completions")


def test_a_key_among_the_headers_of_a_request_is_replaced(server):
    send(lease_for(server), f"{server.url}/v1/chat/completions", headers=(("authorization", "Bearer other"),))
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_request_has_no_other_headers_than_its_own_and_those_of_the_wire(server):
    send(lease_for(server), f"{server.url}/v1/chat/completions", headers=(("anthropic-version", "1"),))
    (request,) = server.requests
    assert set(request.headers) == {
        *("accept", "accept-encoding", "anthropic-version", "authorization", "content-length", "content-type"),
        *("host", "user-agent"),
    }


def test_an_answer_that_is_too_long_is_not_read(server):
    lease = lease_for(server)
    lease.bounds = Bounds(size=10)
    with pytest.raises(CallFailedError):
        send(lease, f"{server.url}/v1/chat/completions")
    assert lease.observation.failure == "answer-too-large"


def test_a_whole_answer_that_trickles_ends_at_its_limit():
    async def run() -> Lease:
        released = asyncio.Event()

        async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")
            await released.wait()
            writer.close()

        async with serving(trickle) as port:
            url = URL(f"http://127.0.0.1:{port}/")
            lease = Lease(
                origin_of(url), BEARER, Secret(KEY), owner=Owner(TENANT, "openai", 1), checked=False, streaming=False
            )
            wire = Wire(EndpointRules, Timeouts(connect=1, answer=0.2))
            await wire.send(lease, str(url), Prepared(CHAT))
            with pytest.raises(CallFailedError):
                await whole(lease)
            released.set()
            await wire.aclose()
        return lease

    assert asyncio.run(run()).observation.timed_out
