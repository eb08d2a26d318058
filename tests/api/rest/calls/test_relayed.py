"""Relayed routes over HTTP: authorisation and scope, what is forwarded, how answers end, and what is counted."""

import asyncio
import json

import pytest

from domain.access.roles import Role
from domain.calls.native import NativeAnswer
from domain.calls.openai_routes import ROUTES
from domain.errors import InvalidField, InvalidRequestError, ProviderUnavailableError
from tests.api.conftest import KEYS, TENANT, Harness
from tests.api.rest.calls.test_native import exchange
from tests.api.scripted import TENANT_RECEIPT, ScriptedPieces

BASE = f"/api/v1/tenants/{TENANT}/openai/v1"
BODY = {"model": "gpt-4o", "input": "hi"}


def answer_of(*pieces, events):
    return NativeAnswer(
        TENANT_RECEIPT, 200, [(b"content-type", b"text/event-stream")], None, ScriptedPieces(*pieces), events
    )


def test_every_route_goes_to_the_relay_with_body_query_and_headers(harness):
    for route in ROUTES:
        path, sent = route.path.format(id="x_1"), {"json": BODY} if route.method == "POST" else {}
        address = f"{BASE}/{path}?a=1&provider=openai&b"
        answer = harness.client.request(route.method, address, headers={"X-Mine": "1"}, **sent)
        assert (answer.status_code, answer.headers["x-credential-source"]) == (200, "tenant"), route
        call = harness.relayed.calls.pop()
        assert (call.tenant_id, call.route, call.path) == (TENANT, route, path)
        assert (call.provider, call.query) == ("openai", "a=1&b")
        assert not sent or (json.loads(call.body), call.length) == (BODY, len(call.body))
        assert (b"x-mine", b"1") in call.headers


def test_a_provider_is_named_once_and_plainly(harness):
    for query in ("provider=", "provider", "provider=OpenAI", "provider=open%61i", "provider=a&provider=a"):
        answer = harness.client.get(f"{BASE}/files?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "provider"), query
    assert harness.relayed.calls == []


def test_other_methods_are_405_and_name_the_one(harness):
    for path in {route.path for route in ROUTES}:
        methods = {route.method for route in ROUTES if route.path == path}
        for method in {"GET", "PUT", "POST", "DELETE", "TRACE"} - methods:
            answer = harness.client.request(method, f"{BASE}/{path.format(id='x_1')}")
            assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed"), (path, method)
            assert set(answer.headers["Allow"].split(", ")) == methods | ({"HEAD"} if "GET" in methods else set())
    assert harness.relayed.calls == []


def test_paths_next_to_a_route_are_not_found(harness):
    for path in (
        "completions/",
        "audio",
        "audio/",
        "images/generations/x",
        "rerank%2F",
        "Completions",
        "files/a/b",
        "files/.a",
    ):
        assert harness.client.post(f"{BASE}/{path}", json=BODY).status_code == 404, path
    assert harness.client.post("/api/v1/tenants/ABC/openai/v1/rerank", json=BODY).status_code == 422


def test_a_role_that_does_not_call_models_is_refused(harness):
    for role in (Role.AUDITOR, Role.OPERATOR):
        assert harness.client.post(f"{BASE}/rerank", json=BODY, headers={"X-API-Key": KEYS[role]}).status_code == 403
    assert harness.client.post(f"{BASE}/rerank", json=BODY, headers={"X-API-Key": "wrong"}).status_code == 401
    assert harness.relayed.calls == []


def test_an_error_is_a_problem_with_the_error_that_openai_clients_show(harness):
    def fail():
        raise InvalidRequestError([InvalidField("model", "is a model of anthropic, which has no rerank")])

    harness.relayed.outcome = fail
    answer = harness.client.post(f"{BASE}/rerank", json=BODY)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request_error")
    assert answer.json()["errors"][0]["field"] == "model"
    assert harness.client.post(f"{BASE}/rerank", json={"model": "unknown"}).json()["code"] == "unknown-model"


def test_a_stream_that_breaks_off_ends_with_an_event_that_clients_take_for_an_error(harness):
    broken = ProviderUnavailableError("openai", "answer-cut-off")
    harness.relayed.outcome = lambda: answer_of(b"data: {}\n\n", b"data: {", broken, events=True)
    answer = harness.client.post(f"{BASE}/completions", json=BODY)
    *whole, cut, error, end = answer.text.split("\n\n")
    assert (whole, cut, end) == (["data: {}"], "data: {", "")
    name, data = error.split("\n")
    assert name == "event: error"
    said = json.loads(data.removeprefix("data: "))
    assert (said["type"], said["error"]["code"], said["code"]) == (
        "error",
        "provider-unavailable",
        "provider-unavailable",
    )


@pytest.mark.parametrize("events", [True, False])
def test_an_answer_in_pieces_is_dropped_at_its_end_whatever_that_is(harness, events):
    for last in (b"x", ProviderUnavailableError("openai", "answer-cut-off")):
        answer = answer_of(b"data: {}\n\n", last, events=events)
        harness.relayed.outcome = lambda answer=answer: answer
        if events or last == b"x":
            harness.client.post(f"{BASE}/completions", json=BODY)
        else:
            body = {"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}
            sent = asyncio.run(
                exchange(harness.app, body, path=f"{BASE}/completions", headers=[(b"content-length", b"36")])
            )
            assert sent[-1]["more_body"] is True
        assert answer.pieces.dropped


def test_calls_are_counted_by_route_and_provider(harness):
    harness.client.post(f"{BASE}/audio/speech", json=BODY)

    def fail():
        raise ProviderUnavailableError("openai", "not-reachable")

    harness.relayed.outcome = fail
    harness.client.post(f"{BASE}/audio/speech", json=BODY)
    text = harness.client.get("/metrics").text
    assert 'route="/api/v1/tenants/{tenant_id}/openai/v1/audio/speech"' in text
    for outcome, source in (("served", "tenant"), ("provider-unavailable", "unknown")):
        labels = f'outcome="{outcome}",provider="openai",source="{source}"'
        assert f"keyledger_credential_resolutions_total{{{labels}}} 1.0" in text
    assert TENANT not in text


def test_a_long_body_is_passed_on_in_pieces(harness: Harness):
    body = json.dumps({**BODY, "input": "x" * 500_000}).encode()
    assert harness.client.post(f"{BASE}/moderations", content=body).status_code == 200
    (call,) = harness.relayed.calls
    assert call.body == body
