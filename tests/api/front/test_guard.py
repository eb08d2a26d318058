"""Bodies: how large, how fast, of which kind."""

import asyncio
import json
import re

import pytest

from api.front.bodies import Limits
from tests.api.conftest import CREDENTIALS, OPENAI, SUPER_KEY, Harness

URL = f"{CREDENTIALS}/openai"
GOOD = b'{"api_key":"sk-0123456789"}'
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def send(app, messages, *, method="PUT", path=URL, headers=(), forever=False):
    """Send ASGI messages and return status, headers and body. `forever`: nothing comes after the messages."""
    waiting, sent = list(messages), []

    async def receive():
        if not waiting and forever:
            await asyncio.Event().wait()
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def collect(message):
        sent.append(message)

    given = [(b"x-api-key", SUPER_KEY.encode()), *headers]
    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": given, "scheme": "http", "server": ("testserver", 80)}
    asyncio.run(app(scope, receive, collect))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, json.loads(body)


def body_messages(*chunks, more=False):
    return [
        {"type": "http.request", "body": chunk, "more_body": more or index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]


JSON_HEADERS = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]


def test_a_body_in_pieces_is_put_together(harness):
    status, _, body = send(harness.app, body_messages(*[bytes([byte]) for byte in GOOD]), headers=JSON_HEADERS)
    assert (status, body["masked_key"]) == (200, "...6789")


@pytest.mark.parametrize("declared", [b"16385", b"999999999999999999"])
def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(harness, declared):
    headers = [(b"content-type", b"application/json"), (b"content-length", declared)]
    status, sent, body = send(harness.app, [], headers=headers, forever=True)
    assert (status, body["code"], sent["connection"]) == (413, "body-too-large", "close")


@pytest.mark.parametrize("declared", [b"-1", b"1e3", b"9" * 30, b"\xb2"])
def test_a_length_that_is_no_number_is_refused(harness, declared):
    headers = [(b"content-type", b"application/json"), (b"content-length", declared)]
    status, _, body = send(harness.app, [], headers=headers, forever=True)
    assert (status, body["code"]) == (400, "malformed-header")


def test_a_body_that_grows_over_the_limit_is_refused_when_it_does(harness):
    chunks = body_messages(*[b" " * 1024] * 17, more=True)
    status, _, body = send(harness.app, chunks, headers=JSON_HEADERS, forever=True)
    assert (status, body["code"]) == (413, "body-too-large")


def test_a_body_at_the_limit_passes(harness):
    padded = GOOD + b" " * (16 * 1024 - len(GOOD))
    assert harness.client.put(URL, content=padded, headers={"Content-Type": "application/json"}).status_code == 200


def test_calls_to_models_may_be_larger_but_not_without_end():
    harness = Harness(limits=Limits(llm_bytes=600_000))
    large = {**CHAT, "messages": [{"role": "user", "content": "x" * 500_000}]}
    assert harness.client.post(f"{OPENAI}/chat/completions", json=large).status_code == 200
    assert harness.models.calls[0][2] == large
    larger = {**CHAT, "messages": [{"role": "user", "content": "x" * 700_000}]}
    assert harness.client.post(f"{OPENAI}/chat/completions", json=larger).status_code == 413


@pytest.mark.parametrize("arrived", [pytest.param([], id="nothing"), pytest.param([GOOD[:5]], id="a part")])
def test_a_body_that_does_not_arrive_in_time_is_408(arrived):
    harness = Harness(limits=Limits(admin_seconds=0.01, linger_seconds=0.01))
    messages = body_messages(*arrived, more=True)
    status, sent, body = send(harness.app, messages, headers=JSON_HEADERS, forever=True)
    assert (status, body["code"], sent["connection"]) == (408, "request-timeout", "close")
    assert harness.log.events == []


def test_a_client_that_leaves_in_the_middle_of_its_body_changes_nothing(harness):
    status, _, _ = send(harness.app, body_messages(GOOD, more=True), headers=JSON_HEADERS)
    assert (status, harness.log.events) == (408, [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content-Type": "application/json"}, 200, id="JSON"),
        pytest.param({"Content-Type": "Application/JSON; charset=UTF-8"}, 200, id="JSON with its charset"),
        pytest.param({"Content-Type": "application/json", "Content-Encoding": "identity"}, 200, id="identity"),
        pytest.param({}, 415, id="none"),
        pytest.param({"Content-Type": "text/json"}, 415, id="text/json"),
        pytest.param({"Content-Type": "application/merge-patch+json"}, 415, id="another JSON"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, 415, id="a form"),
        pytest.param({"Content-Type": "application/json; charset=utf-16"}, 415, id="another charset"),
        pytest.param({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, id="gzip"),
    ],
)
def test_only_json_in_utf_8_is_taken(harness, headers, status):
    assert harness.client.put(URL, content=GOOD, headers=headers).status_code == status


@pytest.mark.parametrize("text", ['"sk-0123456789"', "[]", "null", "5", "true"])
def test_a_body_that_is_not_an_object_is_refused(harness, text):
    answer = harness.client.put(URL, content=text, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (422, "must be a JSON object")


def test_a_missing_body_is_refused(harness):
    assert harness.client.put(URL).json()["errors"] == [
        {"pointer": "", "field": "the body", "detail": "is required: a JSON object"}
    ]
    assert harness.client.post(f"{OPENAI}/chat/completions").status_code == 422


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_body_where_none_belongs_is_ignored(harness, method):
    harness.put()
    answer = harness.client.request(method, URL, content=b"{broken \xff", headers={"Content-Type": "x/y"})
    assert answer.status_code == 200


def test_every_answer_has_safe_headers_and_its_request_id(harness):
    for path in (CREDENTIALS, "/livez", "/metrics", "/openapi.json", "/nowhere", f"{OPENAI}/models"):
        headers = harness.client.get(path).headers
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert re.fullmatch("[0-9a-f-]{36}", headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("a.B-9_z", True, id="a plain token"),
        pytest.param("x" * 128, True, id="128 characters"),
        pytest.param("x" * 129, False, id="129 characters"),
        pytest.param("a b", False, id="a blank"),
        pytest.param("", False, id="empty"),
        pytest.param("<script>", False, id="markup"),
    ],
)
def test_a_request_id_is_taken_over_when_it_is_a_plain_token(harness, sent, kept):
    answer = harness.client.get("/api/v1/nowhere", headers={"X-Request-ID": sent})
    assert (answer.headers["X-Request-ID"] == sent) is kept
    assert answer.json()["instance"] == f"urn:request:{answer.headers['X-Request-ID']}"


def test_the_request_id_is_in_the_log_of_the_credential(harness):
    harness.put(headers={"X-Request-ID": "req-1"})
    assert harness.log.events[0].request_id == "req-1"


def test_a_prefix_added_by_a_proxy_hides_nothing_from_the_guard(harness):
    harness.app.root_path = "/behind"
    harness.client.headers.pop("X-API-Key")
    assert harness.client.get(f"/behind{CREDENTIALS}").status_code == 401
    assert harness.client.get(f"/behind{CREDENTIALS}", headers={"X-API-Key": SUPER_KEY}).status_code == 200
