"""Exactly the right key leaves the process, or none: every provider, every state of the store, with and without a
global key, plain and streamed, against providers on loopback that record what arrives."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from domain.credentials.built_in_providers import BUILT_IN
from tests.support.isolation import OTHERS, PROVIDERS, STATES, Stage, staged
from tests.support.postgres import TemplatedServer


@pytest.fixture(scope="module", params=[pytest.param(True, id="global set"), pytest.param(False, id="global not set")])
def stage(
    request: pytest.FixtureRequest, postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with staged(postgres_server, tmp_path_factory.mktemp("models"), with_global_keys=request.param) as one:
        yield one


@pytest.mark.parametrize("stream", [pytest.param(False, id="plain"), pytest.param(True, id="streamed")])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_exactly_the_right_key_or_none_leaves_the_process(
    stage: Stage, provider: str, state: str, stream: bool
) -> None:
    tenant, key = str(uuid4()), f"sk-tenant-{uuid4().hex}"
    arrange, expected = STATES[state]
    arrange(stage, tenant, provider, key)
    stage.provider.forget()

    answer = stage.client.chat(tenant, f"{provider}-model", stream=stream)

    arrived = [request.key for request in stage.provider.requests]
    if expected == "tenant" or (expected == "global" and stage.global_keys):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-credential-source"] == expected
        assert arrived == [key if expected == "tenant" else stage.global_keys[provider]]
    else:
        code = "no-credential" if expected == "global" else expected
        assert (answer.json()["code"], answer.status_code) == (code, 424 if code == "no-credential" else 500)
        assert arrived == []
    assert stage.thief.requests == []
    assert key not in answer.text + str(answer.headers)


SURFACES = ("chat", "native", "relayed", "messages")
RELAYED = [(name, "relayed") for name in PROVIDERS if BUILT_IN[name].routes]
MESSAGES = [(name, "messages") for name in PROVIDERS]


def call(stage: Stage, surface: str, tenant: str, provider: str) -> httpx.Response:
    if surface == "chat":
        return stage.client.chat(tenant, f"{provider}-model")
    if surface == "native":
        return stage.client.native(tenant, provider, "v1/chat/completions", json={"model": "m", "messages": []})
    if surface == "messages":
        asked = {"model": f"{provider}-model", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
        return stage.client.http.post(f"/api/v1/tenants/{tenant}/anthropic/v1/messages", json=asked)
    route = min(BUILT_IN[provider].routes - {"files", "batches"})
    return stage.client.http.post(f"/api/v1/tenants/{tenant}/openai/v1/{route}", json={"model": f"{provider}-model"})


@pytest.mark.parametrize("state", STATES)
def test_the_same_holds_for_every_other_row_on_each_surface_by_turns_for_relayed_routes_and_for_messages(
    stage: Stage, state: str
) -> None:
    arrange, expected = STATES[state]
    first = list(STATES).index(state)
    turns = [(name, SURFACES[(first + nth) % len(SURFACES)]) for nth, name in enumerate(OTHERS)]
    for provider, surface in [*turns, *RELAYED, *MESSAGES]:
        tenant, key = str(uuid4()), f"sk-tenant-{uuid4().hex}"
        arrange(stage, tenant, provider, key)
        stage.provider.forget()
        answer = call(stage, surface, tenant, provider)
        arrived, case = [request.key for request in stage.provider.requests], (provider, surface)
        if expected == "tenant" or (expected == "global" and stage.global_keys):
            assert answer.headers["x-credential-source"] == expected, (case, answer.text)
            assert arrived == [key if expected == "tenant" else stage.global_keys[provider]], case
        else:
            code = "no-credential" if expected == "global" else expected
            assert answer.json()["code"] == code, case
            assert arrived == [], case
        assert stage.thief.requests == []
        assert key not in answer.text + str(answer.headers)


def test_a_key_that_another_provider_refuses_is_an_error_and_no_other_is_tried(stage: Stage) -> None:
    for provider in OTHERS:
        tenant, key = str(uuid4()), f"sk-refused-{uuid4().hex}"
        stage.set(tenant, provider, key)
        stage.provider.forget()
        stage.provider.accepted = lambda presented, key=key: presented != key
        answer = call(stage, "chat", tenant, provider)
        stage.provider.accepted = lambda presented: True
        assert (answer.status_code, answer.json()["code"]) == (424, "credential-rejected"), provider
        assert [request.key for request in stage.provider.requests] == [key]
        assert key not in answer.text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_the_provider_refuses_is_an_error_and_no_other_is_tried(stage: Stage, provider: str) -> None:
    tenant, key = str(uuid4()), f"sk-refused-{uuid4().hex}"
    stage.set(tenant, provider, key)
    stage.provider.forget()
    stage.provider.accepted = lambda presented: presented != key
    answer = stage.client.chat(tenant, f"{provider}-model")
    stage.provider.accepted = lambda presented: True
    assert (answer.status_code, answer.json()["code"]) == (424, "credential-rejected")
    assert [request.key for request in stage.provider.requests] == [key]
    assert key not in answer.text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_after_delete_never_uses_the_deleted_key(stage: Stage, provider: str) -> None:
    tenant = str(uuid4())
    for number in range(3):
        key = f"sk-round-{number}-{uuid4().hex}"
        stage.set(tenant, provider, key)
        stage.provider.forget()
        assert stage.client.chat(tenant, f"{provider}-model").status_code == 200
        assert [request.key for request in stage.provider.requests] == [key]
        stage.client.delete(tenant, provider)
        stage.provider.forget()
        stage.client.chat(tenant, f"{provider}-model")
        assert key not in {request.key for request in stage.provider.requests}
