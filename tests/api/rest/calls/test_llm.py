"""Calls to models: receipts, errors, streams, and clients that leave."""

import asyncio
import json
from dataclasses import replace

import pytest

from domain.access.roles import Role
from domain.calls.capabilities import Capabilities
from domain.calls.models import Answer, AnswerStream
from domain.calls.prices import PriceTable
from domain.errors import (
    LATE,
    CredentialIntegrityError,
    NoCredentialError,
    ProviderRefusedError,
    ProviderUnavailableError,
    RateLimitedError,
    RejectedCredentialError,
    UnreadableCredentialError,
)
from tests.api.conftest import KEYS, OPENAI, TENANT
from tests.api.scripted import CHAT_ANSWER, GLOBAL_RECEIPT, TENANT_RECEIPT, Chunks

CHAT = f"{OPENAI}/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
EMBED = {"model": "text-embedding-3-small", "input": "Hi"}


def chat(harness, **more):
    return harness.client.post(CHAT, json={**BODY, **more}, headers={"X-API-Key": KEYS[Role.RUNTIME]})


def test_an_answer_is_passed_on_with_its_receipt(harness):
    answer = chat(harness, temperature=0.5)
    assert answer.json() == CHAT_ANSWER
    assert harness.models.calls == [(TENANT, "gpt-4o", {**BODY, "temperature": 0.5})]
    receipt = {name: value for name, value in answer.headers.items() if name.startswith("x-credential")}
    assert receipt == {
        "x-credential-source": "tenant",
        "x-credential-version": "3",
        "x-credential-key-id": "k0123456789",
    }


def test_the_receipt_of_the_global_key_has_no_version_and_no_key_id(harness):
    harness.models.outcome = lambda: Answer(GLOBAL_RECEIPT, CHAT_ANSWER)
    answer = harness.client.post(f"{OPENAI}/embeddings", json=EMBED)
    receipt = {name: value for name, value in answer.headers.items() if name.startswith("x-credential")}
    assert receipt == {"x-credential-source": "global"}


def test_half_a_surrogate_pair_from_a_provider_does_not_break_an_answer(harness):
    harness.models.outcome = lambda: Answer(TENANT_RECEIPT, {"text": "\ud83d"})
    assert chat(harness).content == b'{"text":"\\ud83d"}'


def test_the_catalogue_is_listed_and_shown_in_openais_form(harness):
    gpt = {"id": "gpt-4o", "object": "model", "created": 0, "owned_by": "openai"}
    listed = harness.client.get(f"{OPENAI}/models").json()
    assert (listed["object"], listed["data"][0], len(listed["data"])) == ("list", gpt, 2)
    assert harness.client.get(f"{OPENAI}/models/gpt-4o").json() == gpt
    assert harness.client.get(f"{OPENAI}/models/a/b").json()["code"] == "unknown-model"


def test_a_model_has_the_capabilities_that_the_table_states_and_no_others(harness):
    upstream = harness.models.model("gpt-4o").upstream_name
    table = PriceTable(capabilities={("openai", upstream): Capabilities(("text", "image"), tools=True)})
    harness.services = replace(harness.services, prices=table)
    shown = harness.client.get(f"{OPENAI}/models/gpt-4o").json()
    assert shown["capabilities"] == {"input_modalities": ["text", "image"], "tools": True}
    first, second = harness.client.get(f"{OPENAI}/models").json()["data"]
    assert (first, "capabilities" in second) == (shown, False)


@pytest.mark.parametrize("model", [None, "", 5, ["gpt-4o"], {"name": "gpt-4o"}])
def test_a_call_must_name_its_model(harness, model):
    answer = chat(harness, model=model)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "model")


def test_an_unknown_model_is_404_that_says_where_models_come_from(harness):
    answer = chat(harness, model="gpt-9")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-model")
    assert "ai_models.yml" in answer.json()["error"]["message"]


ERRORS = [
    pytest.param(NoCredentialError(TENANT, "openai", "none"), 424, id="no key anywhere"),
    pytest.param(RejectedCredentialError("openai", "tenant"), 424, id="the provider refuses the key"),
    pytest.param(UnreadableCredentialError("k1", "unknown-key"), 500, id="not openable"),
    pytest.param(CredentialIntegrityError("binding"), 500, id="tampered"),
    pytest.param(RateLimitedError("openai", 7), 429, id="rate limited"),
    pytest.param(ProviderUnavailableError("openai", LATE), 504, id="no answer in time"),
    pytest.param(ProviderUnavailableError("openai", "reset"), 502, id="down"),
    pytest.param(ProviderRefusedError("openai", 400), 400, id="the provider's 400"),
    pytest.param(ProviderRefusedError("openai", 404), 404, id="the provider's 404"),
    pytest.param(ProviderRefusedError("openai", 403), 424, id="the provider's 403 does not look like ours"),
    pytest.param(ProviderRefusedError("openai", 402), 424, id="the provider's 402"),
    pytest.param(ProviderRefusedError("openai", 418), 400, id="another refusal of the provider"),
]


@pytest.mark.parametrize(("error", "status"), ERRORS)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_before_the_first_byte_has_its_own_status(harness, error, status, streamed):
    chunks = Chunks(error)

    def fail():
        if streamed:
            return AnswerStream(TENANT_RECEIPT, chunks)
        raise error

    harness.models.outcome = fail
    answer = chat(harness, stream=streamed)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["detail"]) == (error.code, error.detail)
    assert problem["error"]["message"] == error.detail
    assert (problem["error"]["code"], problem["error"]["param"]) == (error.code, None)
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert chunks.closed == streamed


def events_of(answer):
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    lines = answer.text.split("\n\n")
    assert lines.pop() == "" and all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def test_a_stream_is_framed_as_events_and_ends_with_done(harness):
    chunks = Chunks({"n": 1}, {"text": "a\n\ndata: b"}, {"n": 3})
    harness.models.outcome = lambda: AnswerStream(TENANT_RECEIPT, chunks)
    answer = chat(harness, stream=True)
    *sent, done = events_of(answer)
    assert [json.loads(event) for event in sent] == [{"n": 1}, {"text": "a\n\ndata: b"}, {"n": 3}]
    assert (done, answer.headers["X-Credential-Source"], chunks.closed) == ("[DONE]", "tenant", 1)


def test_a_stream_without_chunks_is_just_done(harness):
    harness.models.outcome = lambda: AnswerStream(TENANT_RECEIPT, Chunks())
    assert events_of(chat(harness, stream=True)) == ["[DONE]"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ProviderUnavailableError("openai", "reset"), "provider-unavailable"), (RuntimeError("text"), "internal-error")],
)
def test_an_error_in_the_middle_is_an_event_and_there_is_no_done(harness, error, code):
    chunks = Chunks({"n": 1}, error)
    harness.models.outcome = lambda: AnswerStream(TENANT_RECEIPT, chunks)
    first, last = events_of(chat(harness, stream=True))
    assert (json.loads(first), json.loads(last)["error"]["code"]) == ({"n": 1}, code)
    assert set(json.loads(last)["error"]) == {"message", "type", "code", "param"}
    assert chunks.closed == 1


def scope_of_chat():
    headers = [
        (b"x-api-key", KEYS[Role.RUNTIME].encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"9"),
    ]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": CHAT, "raw_path": CHAT.encode()}
    return scope | {"query_string": b"", "headers": headers, "scheme": "http", "server": ("testserver", 80)}


class Client:
    """A client on the other end of ASGI that leaves when asked to."""

    def __init__(self):
        self.body = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]
        self.left, self.sent = asyncio.Event(), []

    async def receive(self):
        if self.body:
            return self.body.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)


def test_a_client_that_leaves_a_stream_closes_it_at_once(harness):
    closed = []

    async def endless(client):
        try:
            yield {"n": 1}
            client.left.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what is awaited while cleaning up is not cancelled again
            closed.append(True)

    async def leave():
        client = Client()
        harness.models.outcome = lambda: AnswerStream(TENANT_RECEIPT, endless(client))
        await harness.app(scope_of_chat(), client.receive, client.send)
        return client.sent

    sent = asyncio.run(leave())
    assert closed == [True]
    assert sent[0]["status"] == 200 and sent[-1]["more_body"] and b"DONE" not in sent[-1]["body"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_before_the_answer_ends_the_call(harness, streamed, monkeypatch):
    ended = []

    async def wait(client):
        try:
            client.left.set()
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def silent(client):
        await wait(client)
        yield {}

    async def leave():
        client = Client()

        async def complete(tenant_id, model, params, admission):
            return AnswerStream(TENANT_RECEIPT, silent(client)) if streamed else await wait(client)

        monkeypatch.setattr(harness.models, "complete", complete)
        await harness.app(scope_of_chat(), client.receive, client.send)
        return client.sent[0]["status"]

    assert (asyncio.run(leave()), ended) == (499, [True])


def test_a_server_that_stops_is_not_taken_for_a_client_that_left(harness, monkeypatch):
    async def stop():
        client, begun = Client(), asyncio.Event()

        async def complete(tenant_id, model, params, admission):
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(harness.models, "complete", complete)
        serving = asyncio.create_task(harness.app(scope_of_chat(), client.receive, client.send))
        await begun.wait()
        serving.cancel()
        await serving
        return client.sent

    start, body = asyncio.run(stop())
    assert start["status"] == 503
    assert json.loads(body["body"])["code"] == "shutting-down"


def test_calls_are_counted_by_provider_source_and_outcome(harness):
    chat(harness)
    harness.models.outcome = lambda: Answer(GLOBAL_RECEIPT, CHAT_ANSWER)
    chat(harness)

    def fail():
        raise RejectedCredentialError("openai", "tenant")

    harness.models.outcome = fail
    chat(harness)
    counted = harness.client.get("/metrics").text
    for source, outcome in (("tenant", "served"), ("global", "served"), ("unknown", "credential-rejected")):
        labels = f'{{outcome="{outcome}",provider="openai",source="{source}"}}'
        assert f"keyledger_credential_resolutions_total{labels} 1.0" in counted
    assert TENANT not in counted
