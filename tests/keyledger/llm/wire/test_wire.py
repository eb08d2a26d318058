"""The wire sends one request, under a lease, to one origin, and reads its answer within limits."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from yarl import URL

from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from keyledger.llm.answers.bounds import Bounds
from keyledger.llm.requests.origin import BEARER, origin_of
from keyledger.llm.wire.dispatch import CallFailedError, Timeouts
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.wire import KEYLESS_CLIENT, Wire
from scripts.demo.stand_in_provider import Failure, Misbehaviour, StandInProvider
from tests.keyledger.llm.rig import KEY, TENANT, stand_in
from tests.support.loopback import serving


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


def get(lease: Lease, *urls: str, wire: Wire | None = None, **options) -> httpx.Response:
    """Fetch the URLs under one lease and return the last answer."""

    async def run() -> httpx.Response:
        used = wire or Wire(EndpointRules)
        try:
            with used.activate(lease):
                answers = [await KEYLESS_CLIENT.get(url, **options) for url in urls]
            return answers[-1]
        finally:
            await used.aclose()

    return asyncio.run(run())


def test_outside_a_call_nothing_is_sent(server):
    with pytest.raises(CallFailedError, match="no-lease"):
        asyncio.run(KEYLESS_CLIENT.get(server.url))
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["http://localhost:{port}/v1/models", "https://127.0.0.1:{port}/v1/models", "http://127.0.0.1:1/v1/models"]
)
def test_another_origin_gets_nothing(server, url):
    lease = lease_for(server)
    with pytest.raises(CallFailedError, match="foreign-origin"):
        get(lease, url.format(port=lease.origin.port))
    assert server.requests == []
    assert lease.observation.failure == "foreign-origin"


def test_a_second_request_is_not_sent_and_does_not_hide_how_the_first_went(server):
    lease = lease_for(server)
    with pytest.raises(CallFailedError, match="second-request"):
        get(lease, f"{server.url}/v1/models", f"{server.url}/v1/models")
    assert len(server.requests) == 1
    assert (lease.observation.status, lease.observation.failure) == (200, None)


def test_a_closed_lease_serves_nothing_and_holds_no_key(server):
    lease = lease_for(server)
    get(lease, f"{server.url}/v1/models")
    assert lease.secret is None
    with pytest.raises(CallFailedError, match="lease-closed"):
        get(lease, f"{server.url}/v1/models")


def test_headers_of_libraries_do_not_reach_the_provider(server):
    headers = {
        "authorization": "Bearer other",
        "x-api-key": "other",
        "api-key": "other",
        "cookie": "a=b",
        "openai-organization": "org",
        "openai-project": "project",
        "x-stainless-lang": "python",
        "x-forwarded-for": "10.0.0.1",
    }
    get(lease_for(server), f"{server.url}/v1/models", headers=headers)
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert not set(headers) - {"authorization"} & set(request.headers)


def test_headers_of_the_provider_do_not_reach_the_caller(server):
    server.misbehave = Misbehaviour(Failure.ECHO)
    answer = get(lease_for(server), f"{server.url}/v1/models")
    assert dict(answer.headers) == {"content-type": "application/json"}


def test_an_answer_that_is_too_long_is_not_read(server):
    lease = lease_for(server)
    lease.bounds = Bounds(size=10)
    with pytest.raises(CallFailedError):
        get(lease, f"{server.url}/v1/models")
    assert lease.observation.failure == "answer-too-large"


def test_cookies_are_not_kept(server):
    answer = get(lease_for(server), f"{server.url}/v1/models")
    assert not answer.cookies
    assert not KEYLESS_CLIENT.cookies


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
            with wire.activate(lease), pytest.raises(CallFailedError):
                await KEYLESS_CLIENT.get(str(url))
            released.set()
            await wire.aclose()
        return lease

    assert asyncio.run(run()).observation.timed_out
