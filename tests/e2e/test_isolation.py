"""Exactly the right key leaves the process, or none: every provider, every state of the store, with and without a
global key, plain and streamed, against providers on loopback that record what arrives."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.isolation import PROVIDERS, STATES, Stage, staged
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
