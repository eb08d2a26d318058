"""Providers' own APIs over HTTP: authorisation, what is forwarded, how bodies are bounded, and how answers end."""

import asyncio
import json

import pytest

from api.front.bodies import Limits
from api.rest.calls.native import METHODS
from domain.access.roles import Role
from domain.calls.native import NativeAnswer
from domain.errors import NoCredentialError, ProviderUnavailableError, RejectedCredentialError
from tests.api.conftest import KEYS, NATIVE, SUPER_KEY, TENANT, Harness
from tests.api.scripted import GLOBAL_RECEIPT, TENANT_RECEIPT, ScriptedPieces

URL = f"{NATIVE}/openai/v1/chat/completions"
WIDE = Limits(native_bytes=300_000, native_seconds=0.2, linger_seconds=0.05)


def answer_of(*pieces, status=200, receipt=TENANT_RECEIPT, headers=()):
    return NativeAnswer(receipt, status, headers, None, ScriptedPieces(*pieces))


async def exchange(app, *messages, method="POST", path=URL, query=b"", headers=(), left=False, then=None):
    """Send ASGI messages and return what was sent back. `left`: the client is gone after them, else it waits."""
    waiting, sent = list(messages), []

    async def receive():
        if waiting:
            return waiting.pop(0)
        if then is not None:
            await then()
        if not left and then is None:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def collect(message):
        sent.append(message)

    raw = path.encode("latin-1")
    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": raw, "root_path": ""}
    scope |= {"query_string": query, "headers": [(b"x-api-key", SUPER_KEY.encode()), *headers]}
    scope |= {"scheme": "http", "server": ("testserver", 80)}
    await app(scope, receive, collect)
    return sent


def send(app, *messages, **how):
    return asyncio.run(exchange(app, *messages, **how))


def status_and_problem(sent):
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))["code"]


def pieces(*bodies, more=False):
    last = len(bodies) - 1
    return [
        {"type": "http.request", "body": body, "more_body": more or index < last} for index, body in enumerate(bodies)
    ]


CHUNKED = [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_with_path_query_headers_and_body(harness, method):
    body = b"\x00 no JSON" if method in {"POST", "PUT", "PATCH"} else b""
    answer = harness.client.request(method, f"{URL}?a=1&b", content=body, headers={"X-Mine": "1"})
    assert answer.status_code == 200
    (call,) = harness.native.calls
    assert (call.tenant_id, call.provider, call.method) == (TENANT, "openai", method)
    assert (call.path, call.query, call.body) == ("v1/chat/completions", "a=1&b", body)
    assert (b"x-mine", b"1") in call.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("framing", [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
def test_a_body_with_a_method_that_has_none_is_refused_before_anything_is_resolved(harness, method, framing):
    sent = send(harness.app, *pieces(b"hello"), method=method, headers=[framing])
    assert sent[0]["status"] == 422
    assert (b"connection", b"close") in [(name.lower(), value) for name, value in sent[0]["headers"]]
    assert harness.native.calls == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_a_length_of_zero_is_no_body(harness, method):
    assert harness.client.request(method, URL, headers={"content-length": "0"}).status_code == 200
    assert len(harness.native.calls) == 1


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW"])
def test_other_methods_are_405(harness, method):
    answer = harness.client.request(method, URL)
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert "TRACE" not in answer.headers["Allow"]
    assert harness.native.calls == []


@pytest.mark.parametrize("header", ["X-API-Key", "api-key", "Authorization"])
def test_the_key_is_read_where_the_official_clients_put_it(harness, header):
    harness.client.headers.pop("X-API-Key")
    key = KEYS[Role.RUNTIME] if header != "Authorization" else f"Bearer {KEYS[Role.RUNTIME]}"
    assert harness.client.post(URL, headers={header: key}).status_code == 200
    assert harness.client.post(URL, headers={header: key + "x"}).status_code == 401
    assert harness.client.post(URL, headers={header: key, "X-API-Key": "another"}).status_code == 401
    assert len(harness.native.calls) == 1


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_a_role_that_does_not_call_models_is_refused(harness, role):
    assert harness.client.post(URL, headers={"X-API-Key": KEYS[role]}).status_code == 403
    assert harness.native.calls == []


def test_the_answer_is_the_provider_s_with_the_receipt(harness):
    harness.native.outcome = lambda: NativeAnswer(TENANT_RECEIPT, 418, [(b"x-theirs", b"1")], b"short", None)
    answer = harness.client.post(URL, headers={"X-Request-ID": "req-1"})
    assert (answer.status_code, answer.content, answer.headers["x-theirs"]) == (418, b"short", "1")
    receipt = {name: value for name, value in answer.headers.items() if name.startswith("x-credential")}
    assert receipt == {
        "x-credential-source": "tenant",
        "x-credential-version": "3",
        "x-credential-key-id": "k0123456789",
    }
    assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("req-1", "no-store")


def test_an_answer_in_pieces_is_passed_on_in_pieces(harness):
    answer = answer_of(b"one", b"two")
    harness.native.outcome = lambda: answer
    sent = send(harness.app)
    assert [message.get("body") for message in sent] == [None, b"one", b"two", b""]
    assert answer.pieces.dropped


def test_an_answer_that_breaks_off_stays_incomplete(harness):
    answer = answer_of(b"one", ProviderUnavailableError("openai", "answer-cut-off"))
    harness.native.outcome = lambda: answer
    sent = send(harness.app)
    assert [(message.get("body"), message.get("more_body")) for message in sent[1:]] == [(b"one", True)]
    assert answer.pieces.dropped


ERRORS = [
    (NoCredentialError(TENANT, "openai", "none"), 424),
    (RejectedCredentialError("openai", "tenant"), 424),
    (ProviderUnavailableError("openai", "redirect"), 502),
]


@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_an_error_is_a_problem_that_official_clients_can_show(harness, error, status):
    def fail():
        raise error

    harness.native.outcome = fail
    answer = harness.client.post(URL, content=b"x")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["error"]["message"] == error.detail
    assert "x-credential-source" not in answer.headers
    assert "connection" not in answer.headers, "the body was read, so the connection has a future"


ADDRESSES = [
    (f"{NATIVE}/acme/v1/x", 404, "unknown-provider"),
    (f"{NATIVE}/openai", 404, "not-found"),
    (f"{NATIVE}/openai/", 404, "not-found"),
    (f"{NATIVE}/", 404, "not-found"),
    (f"{NATIVE}/openai/../azure/x", 400, "invalid-path"),
    (f"{NATIVE}/openai/%2e%2e/x", 400, "invalid-path"),
    (f"{NATIVE}/openai/v1//x", 400, "invalid-path"),
    (f"{NATIVE}/openai/v1/%252e%252e/x", 400, "invalid-path"),
    (f"{NATIVE}/openai/v1\\x", 400, "invalid-path"),
    (f"{NATIVE}/open%61i/v1/x", 404, "unknown-provider"),
    ("/api/v1/tenants/ABC/providers/openai/v1/x", 422, "invalid-request"),
    ("/api/v1/tenants/../providers/openai/v1/x", 422, "invalid-request"),
]


@pytest.mark.parametrize(("path", "status", "code"), ADDRESSES)
def test_an_address_that_leads_nowhere_or_elsewhere_is_refused(harness, path, status, code):
    assert status_and_problem(send(harness.app, path=path)) == (status, code)
    assert harness.native.calls == []


def test_a_path_below_a_proxy_s_prefix_is_the_same(harness):
    sent = []

    async def collect(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    path = f"/ledger{NATIVE}/openai/v1/a%2Fb"
    scope: dict[str, object] = {"type": "http", "method": "GET", "root_path": "/ledger"}
    scope |= {"path": path.replace("%2F", "/")}
    scope |= {"raw_path": path.encode(), "query_string": b"", "headers": [(b"x-api-key", SUPER_KEY.encode())]}
    asyncio.run(harness.app(scope, receive, collect))
    assert (sent[0]["status"], harness.native.calls[0].path) == (200, "v1/a%2Fb")


@pytest.mark.parametrize("upgrade", [b"websocket", b"WebSocket", b"h2c, websocket"])
def test_a_websocket_upgrade_is_refused_in_words(harness, upgrade):
    headers = [(b"connection", b"Upgrade"), (b"upgrade", upgrade)]
    assert status_and_problem(send(harness.app, method="GET", headers=headers)) == (400, "upgrade-refused")


def test_an_offer_of_another_protocol_is_passed_over(harness):
    assert send(harness.app, method="GET", headers=[(b"upgrade", b"h2c")])[0]["status"] == 200


def test_a_long_body_goes_on_whole(harness):
    assert harness.client.post(URL, content=b"x" * 3_000_000).status_code == 200
    (call,) = harness.native.calls
    assert (call.body, call.length) == (b"x" * 3_000_000, 3_000_000)


def test_a_body_over_the_limit_is_refused_by_its_declared_length_and_nothing_is_sent():
    harness = Harness(limits=WIDE)
    sent = send(harness.app, headers=[(b"content-length", b"300001")])
    assert status_and_problem(sent) == (413, "body-too-large")
    assert (b"connection", b"close") in sent[0]["headers"]
    assert harness.native.calls == []


@pytest.mark.parametrize("size", [30_000, 90_000], ids=["before the call", "during the call"])
def test_a_body_that_grows_over_the_limit_ends_the_call(size):
    harness = Harness(limits=Limits(native_bytes=3 * size, linger_seconds=0.05))
    sent = send(harness.app, *pieces(*[b"x" * size] * 4, more=True), headers=CHUNKED)
    assert status_and_problem(sent) == (413, "body-too-large")


@pytest.mark.parametrize("sent_before", [10, 100_000])
def test_a_body_that_stalls_ends_the_call(sent_before):
    harness = Harness(limits=WIDE)
    sent = send(harness.app, *pieces(b"x" * sent_before, more=True), headers=CHUNKED)
    assert status_and_problem(sent) == (408, "request-timeout")


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"9" * 30])
def test_a_length_that_is_no_number_is_refused(harness, length):
    assert status_and_problem(send(harness.app, headers=[(b"content-length", length)])) == (400, "malformed-header")


def test_a_client_that_leaves_ends_the_call(harness):
    ended = []

    async def never(call):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(call.path)

    harness.native.call = never
    send(harness.app, left=True)
    assert ended == ["v1/chat/completions"]


def test_a_client_that_leaves_in_the_middle_of_an_answer_ends_it(harness):
    class Endless(ScriptedPieces):
        async def next(self):
            await asyncio.sleep(0)
            return b"x"

    endless = Endless()
    harness.native.outcome = lambda: NativeAnswer(GLOBAL_RECEIPT, 200, (), None, endless)

    async def soon():
        for _ in range(20):
            await asyncio.sleep(0)

    sent = send(harness.app, then=soon)
    assert endless.dropped
    assert sent[-1]["more_body"] is True


def test_a_client_that_leaves_in_the_middle_of_its_body_ends_the_call(harness):
    sent = send(harness.app, *pieces(b"x" * 100_000, more=True), headers=CHUNKED, left=True)
    assert status_and_problem(sent)[1] == "request-timeout"


def test_an_early_answer_to_a_body_under_way_ends_the_connection(harness):
    async def at_once(call):
        return NativeAnswer(TENANT_RECEIPT, 413, (), b"too much", None)

    harness.native.call = at_once
    sent = send(harness.app, *pieces(b"x" * 100_000, more=True), headers=CHUNKED)
    assert (sent[0]["status"], sent[1]["body"]) == (413, b"too much")
    assert (b"connection", b"close") in sent[0]["headers"]


def test_the_answer_to_head_has_the_length_that_the_provider_gave(harness):
    harness.native.outcome = lambda: NativeAnswer(TENANT_RECEIPT, 200, [(b"content-length", b"99")], b"", None)
    assert harness.client.head(URL).headers["content-length"] == "99"


def test_calls_are_counted_by_whose_key_served_and_how_it_ended(harness):
    for status in (200, 429, 400, 500):
        harness.native.outcome = lambda status=status: answer_of(b"x", status=status)
        harness.client.post(URL)

    def fail():
        raise RejectedCredentialError("openai", "tenant")

    harness.native.outcome = fail
    harness.client.post(URL)
    text = harness.client.get("/metrics").text
    for source, outcome in [
        *(("tenant", outcome) for outcome in ("served", "provider-rate-limited", "provider-refused")),
        *(("tenant", "provider-unavailable"), ("unknown", "credential-rejected")),
    ]:
        labels = f'outcome="{outcome}",provider="openai",source="{source}"'
        assert f"keyledger_credential_resolutions_total{{{labels}}} 1.0" in text
    assert 'route="/api/v1/tenants/{tenant_id}/providers/{provider}/{path}"' in text
    assert TENANT not in text


def test_calls_go_on_where_tenant_credentials_are_switched_off(switched_off):
    assert switched_off.client.post(URL).status_code == 200
