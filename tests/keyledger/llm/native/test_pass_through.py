"""A call in a provider's own API: what goes out, what comes back, and that the key is in neither but once."""

import asyncio
import base64
import gzip
import json
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from aiohttp import web

from domain.calls.native import NativeAnswer, NativeCall
from domain.calls.tokens import Tokens
from domain.credentials.resolution import Route
from domain.endpoints.rules import EndpointRules
from domain.errors import (
    ErrorCode,
    ProviderUnavailableError,
    RejectedCredentialError,
    ServiceError,
)
from keyledger.llm import CallConfiguration, PassThrough, Timeouts
from tests.keyledger.llm.rig import KEY, TENANT, Keys, catalogue, overdue
from tests.keyledger.llm.test_secrecy import FreshKeys, _holds_canary, _reachable, canary
from tests.support.errors import raises
from tests.support.meter import ListeningMeter
from tests.support.native_provider import NativeProvider, native_provider

T = TypeVar("T")


@pytest.fixture
def server() -> Iterator[NativeProvider]:
    with native_provider() as running:
        yield running


def with_pass_through(resolver: Keys, use: Callable[[PassThrough], Awaitable[T]], **options: Any) -> T:
    options.setdefault("meter", ListeningMeter())

    async def run() -> T:
        configuration = CallConfiguration(catalogue(), resolver, EndpointRules())
        apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), **options)
        try:
            return await use(apis)
        finally:
            await apis.stop()

    return asyncio.run(run())


def call(provider: str = "openai", path: str = "v1/things", method: str = "POST", **more: Any) -> NativeCall:
    return NativeCall(TENANT, provider, method, path, **more)


async def body_of(answer: NativeAnswer) -> bytes:
    if answer.pieces is None:
        return answer.whole or b""
    pieces = []
    while (piece := await answer.pieces.next()) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def ask(server: NativeProvider, asked: NativeCall | None = None, **options: Any) -> tuple[NativeAnswer, bytes]:
    async def use(apis: PassThrough) -> tuple[NativeAnswer, bytes]:
        answer = await apis.call(asked or call())
        return answer, await body_of(answer)

    return with_pass_through(Keys(server.url), use, **options)


def answering(status: int = 200, body: bytes = b"{}", **headers: str) -> Callable[[Any], Awaitable[web.StreamResponse]]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"content-type": "application/json", **named})

    return answer


def streaming(*pieces: bytes, media_type: str = "text/event-stream") -> Callable[[Any], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": media_type})
        await stream.prepare(request)
        for piece in pieces:
            await stream.write(piece)
            await asyncio.sleep(0.001)
        return stream

    return answer


def test_a_request_goes_on_as_it_is_with_the_tenant_s_key(server):
    headers = [(b"content-type", b"text/x"), (b"authorization", b"Bearer service"), (b"cookie", b"a=b")]
    answer, body = ask(server, call(path="v1/a%2Fb", query="x=1&y", headers=headers, body=b"\x00\xff", method="PUT"))
    (heard,) = server.heard
    assert (heard.method, heard.target, heard.body) == ("PUT", "/openai/v1/a%2Fb?x=1&y", b"\x00\xff")
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["content-type"] == "text/x"
    assert "cookie" not in heard.headers
    assert (answer.status, json.loads(body), answer.receipt.version) == (200, {"hello": "world"}, 3)


@pytest.mark.parametrize("given", [[], [(b"anthropic-version", b"2030-01-01")]])
def test_anthropic_gets_a_version_where_the_caller_names_none(server, given):
    ask(server, call("anthropic", "v1/messages", headers=given))
    (heard,) = server.heard
    assert heard.headers["x-api-key"] == KEY
    assert heard.headers["anthropic-version"] == ("2030-01-01" if given else "2023-06-01")
    assert "authorization" not in heard.headers


class _OwnHeader(Keys):
    """A provider of the operator's own, which takes its key in a header that no one else has."""

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        return replace(route, provider=replace(route.provider, key_header="x-example-key"))


def test_what_the_caller_sends_in_the_provider_s_key_header_does_not_reach_it(server):
    seen = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.extend(request.headers.getall("x-example-key"))
        return web.json_response({})

    server.answer = look
    sent = [(b"x-example-key", b"the-callers-own"), (b"x-other", b"passes")]
    with_pass_through(_OwnHeader(server.url), lambda apis: apis.call(call(headers=sent)))
    assert seen == [KEY]
    assert server.heard[0].headers["x-other"] == "passes"


def test_an_unknown_provider_is_refused_before_anything_is_resolved(server):
    with raises(ErrorCode.UNKNOWN_PROVIDER):
        ask(server, call("acme"))
    assert server.heard == []


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 403, 404, 409, 413, 422, 429, 500, 503, 529])
def test_other_answers_are_the_provider_s_own(server, status):
    server.answer = answering(status, b"" if status in {204, 304} else b'{"error": "theirs"}', retry_after="7")
    answer, body = ask(server)
    assert answer.status == status
    assert (b"retry-after", b"7") in answer.headers
    assert body == (b"" if status in {204, 304} else b'{"error": "theirs"}')


def test_a_401_is_ours_and_repeats_nothing(server):
    server.answer = answering(401, f"Incorrect API key provided: {KEY}".encode())
    with pytest.raises(RejectedCredentialError) as caught:
        ask(server)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_neither_followed_nor_passed_on(server, status):
    server.answer = answering(status, location=f"{server.url}/elsewhere")
    with pytest.raises(ProviderUnavailableError, match="redirect"):
        ask(server)
    assert len(server.heard) == 1


def test_a_provider_that_does_not_answer_in_time_is_given_up(server):
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = never
    with raises(ErrorCode.PROVIDER_TIMEOUT):
        with_pass_through(Keys(server.url), lambda apis: overdue(apis.call(call()), lambda: server.heard))
    assert server.left.wait(60)


@pytest.mark.parametrize("base", ["https://10.1.2.3", "http://api.example.com", "https://vllm.internal"])
def test_a_tenant_s_endpoint_that_is_not_allowed_is_not_called(base):
    with pytest.raises(ProviderUnavailableError, match="endpoint-not-allowed"):
        with_pass_through(Keys(base, chosen_by_tenant=True), lambda apis: apis.call(call()))


def test_a_tenant_s_endpoint_whose_name_leads_inside_is_not_connected_to(server):
    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    keys = Keys("https://llm.example.com", chosen_by_tenant=True)
    with pytest.raises(ProviderUnavailableError, match="loopback-address"):
        with_pass_through(keys, lambda apis: apis.call(call()), lookup=inside)


def test_cookies_of_one_call_are_not_sent_with_the_next(server):
    server.answer = answering(set_cookie="session=1; Path=/")

    async def twice(apis: PassThrough) -> None:
        for _ in range(2):
            assert b"set-cookie" not in dict((await apis.call(call())).headers)

    with_pass_through(Keys(server.url), twice)
    assert all("cookie" not in heard.headers for heard in server.heard)


SPELLINGS = {
    "as it is": KEY,
    "as a URL has it": quote(KEY, safe=""),
    "in base64": base64.b64encode(KEY.encode()).decode().rstrip("="),
    "with escapes": "".join(f"\\u{ord(character):04x}" for character in KEY),
}


@pytest.mark.parametrize("spelt", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_body_that_repeats_the_key_is_scrubbed(server, spelt, status):
    server.answer = answering(status, f'{{"you sent": "{spelt}!"}}'.encode())
    _, body = ask(server)
    assert body == b'{"you sent": "[redacted]!"}'


@pytest.mark.parametrize("at", range(1, len(KEY)))
def test_a_key_cut_in_two_in_a_stream_is_scrubbed(server, at):
    raw = f"data: {KEY} x\n\n".encode()
    server.answer = streaming(raw[: 6 + at], raw[6 + at :])
    _, body = ask(server)
    assert body == b"data: [redacted] x\n\n"


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("repeats", [1, 20_000])
def test_an_encoded_answer_is_decoded_and_scrubbed(server, encoding, repeats):
    said = f"key {KEY}. ".encode() * repeats
    server.answer = answering(200, ENCODINGS[encoding](said), content_encoding=encoding)
    answer, body = ask(server)
    assert server.heard[0].headers["accept-encoding"] == "identity"
    assert body == b"key [redacted]. " * repeats
    assert b"content-encoding" not in dict(answer.headers)


@pytest.mark.parametrize("encoding", ["compress", "gzip, gzip", "aes128gcm"])
def test_an_answer_in_an_encoding_that_cannot_be_looked_into_is_refused(server, encoding):
    server.answer = answering(200, KEY.encode(), content_encoding=encoding)
    with pytest.raises(ProviderUnavailableError, match="encoding"):
        ask(server)


def test_a_header_that_repeats_the_key_is_not_passed_on(server):
    server.answer = answering(x_seen=KEY, x_fine="1")
    answer, _ = ask(server)
    assert KEY not in str(answer.headers)
    assert (b"x-fine", b"1") in answer.headers


def test_bytes_that_are_no_text_come_out_as_they_came(server):
    sound = bytes(range(256)) * 400 + b"\\/\\u0073\\u006b"
    server.answer = streaming(sound[:1000], sound[1000:], media_type="audio/mpeg")
    _, body = ask(server)
    assert body == sound


def test_a_long_body_goes_on_in_pieces_with_its_length(server):
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number]) * 10_000

    ask(server, call(body=pieces(), length=500_000))
    (heard,) = server.heard
    assert (len(heard.body), heard.headers["content-length"]) == (500_000, "500000")
    assert "transfer-encoding" not in heard.headers


def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(server):
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise RuntimeError("the caller left")

    for length in (500_000, None):
        with pytest.raises(ProviderUnavailableError):
            ask(server, call(body=broken(), length=length))
    assert all(heard.body == b"" for heard in server.heard), "none was read to its end"


def test_an_answer_that_breaks_off_ends_in_an_error(server):
    async def cut(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b"begun")
        assert request.transport is not None
        request.transport.abort()
        return stream

    server.answer = cut
    with pytest.raises(ProviderUnavailableError):
        ask(server)


def test_dropping_an_answer_ends_the_connection_to_the_provider(server):
    async def endless(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b"x" * 1000)
            await asyncio.sleep(0.001)

    server.answer = endless

    async def look(apis: PassThrough) -> None:
        answer = await apis.call(call())
        assert answer.pieces is not None
        assert await answer.pieces.next()
        answer.pieces.drop()
        assert await answer.pieces.next() is None

    with_pass_through(Keys(server.url), look)
    assert server.left.wait(60)


# Made when they are needed: what holds the key for as long as the module lives would be found by others that search.
BREAKS: dict[str, Callable[[], Callable[[web.Request], Awaitable[web.StreamResponse]]]] = {
    "401": lambda: answering(401, canary().encode()),
    "redirect": lambda: answering(302, location=f"/{canary()}"),
    "unknown encoding": lambda: answering(200, canary().encode(), content_encoding="x"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_no_error_log_or_traceback_holds_the_key(server, how, caplog):
    server.answer = BREAKS[how]()
    with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError) as caught:
        with_pass_through(FreshKeys(server.url), lambda apis: apis.call(call()))
    assert server.heard[0].headers["authorization"] == f"Bearer {canary()}"
    assert not [value for value in _reachable(caught.value) if _holds_canary(value)]
    assert not _holds_canary(str(caught.value) + caplog.text)
    assert caught.value.__context__ is None


def test_the_connections_are_shared_and_each_request_has_its_own_key(server):
    keys = {f"tenant-{number}": f"sk-tenant-{number}-0123456789" for number in range(20)}

    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"sent": (await request.read()).decode()})

    server.answer = echo

    async def all_at_once(apis: PassThrough) -> None:
        calls = [
            NativeCall(tenant, "openai", "POST", "v1/x", body=tenant.encode()) for tenant in keys for _ in range(5)
        ]
        for answer in await asyncio.gather(*map(apis.call, calls)):
            assert answer.status == 200

    with_pass_through(Keys(server.url, keys), all_at_once)
    assert len(server.heard) == 100
    for heard in server.heard:
        assert heard.headers["authorization"] == f"Bearer {keys[heard.body.decode()]}"


METERED = [
    pytest.param(answering(), False, False, id="an answer"),
    pytest.param(streaming(b"a", b"b"), False, False, id="a stream"),
    pytest.param(answering(404), True, False, id="the provider's own refusal"),
    pytest.param(answering(503), True, False, id="the provider's own fault"),
    pytest.param(answering(401), True, True, id="the key is refused"),
    pytest.param(answering(302, Location="https://elsewhere.example"), True, False, id="a redirect"),
]


@pytest.mark.parametrize(("answer", "failed", "rejected"), METERED)
def test_a_call_counts_once_when_it_ended(server, answer, failed, rejected):
    server.answer = answer
    meter = ListeningMeter()
    try:
        ask(server, meter=meter)
    except ServiceError:
        assert failed
    (told,) = meter.told
    assert (told.tenant_id, told.provider, told.version) == (TENANT, "openai", 3)
    assert (told.failed, told.rejected) == (failed, rejected)


def test_a_stream_that_is_dropped_counts_once(server):
    server.answer = streaming(b"a", b"b", b"c")
    meter = ListeningMeter()

    async def leave(apis: PassThrough) -> None:
        answer = await apis.call(call())
        assert answer.pieces is not None
        await answer.pieces.next()
        answer.pieces.drop()
        answer.pieces.drop()

    with_pass_through(Keys(server.url), leave, meter=meter)
    assert len(meter.told) == 1


KEY_ERRORS = [
    (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: na***ys."}),
    (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]),
    (400, [{"error": {"code": 400, "message": "API key expired. Please renew the API key."}}]),
    (403, [{"error": {"code": 403, "message": "Your API key was reported as leaked. Please use another."}}]),
    (403, {"error": {"code": "invalid_api_key", "message": "x" * 60_000}}),
]
OTHER_ERRORS = [
    (400, {"error": {"code": "context_length_exceeded", "message": "invalid_api_key"}}),
    (403, {"error": {"message": "no access to this model"}}),
    (404, {"error": {"code": "invalid_api_key"}}),
    (403, {"error": {"code": "invalid_api_key", "message": "x" * 200_000}}),
]


def test_an_error_that_says_that_the_key_is_not_valid_is_not_passed_on_whatever_its_status(server):
    for status, body in KEY_ERRORS:
        server.answer, meter = answering(status, json.dumps(body).encode()), ListeningMeter()
        with pytest.raises(RejectedCredentialError):
            ask(server, meter=meter)
        (told,) = meter.told
        assert (told.rejected, told.failed) == (True, True), body


def test_every_other_error_is_passed_on_as_it_is(server):
    for status, body in OTHER_ERRORS:
        text = json.dumps(body).encode()
        server.answer, meter = answering(status, text), ListeningMeter()
        answer, read = ask(server, meter=meter)
        assert (answer.status, read) == (status, text)
        (told,) = meter.told
        assert (told.rejected, told.failed) == (False, True), body


COUNTED = {"model": "gpt-x", "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
ANSWERS = {
    "an answer at once": answering(200, json.dumps(COUNTED).encode()),
    "an answer in pieces": streaming(
        b'{"model": "gpt-x", ', json.dumps(COUNTED)[1:].encode(), media_type="application/json"
    ),
    "a stream": streaming(b"data: {}\n\nda", b"ta: " + json.dumps(COUNTED).encode() + b"\n\n", b"data: [DONE]\n\n"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_tokens_of_native_calls_are_read_while_they_are_passed_on(server, name):
    server.answer, meter = ANSWERS[name], ListeningMeter()
    ask(server, call(method="POST", body=b"{}"), meter=meter)
    assert [(one.model, one.tokens) for one in meter.spent] == [("", Tokens(9, 4))]


def test_a_native_call_without_counts_is_unknown_if_it_may_have_generated_something(server):
    for method, status, tokens in (("POST", 200, None), ("POST", 400, Tokens(0, 0)), ("GET", 200, Tokens(0, 0))):
        server.answer, meter = answering(status), ListeningMeter()
        ask(server, call(method=method), meter=meter)
        assert [one.tokens for one in meter.spent] == [tokens], (method, status)
