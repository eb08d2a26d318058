"""The isolation matrix again, for calls in a provider's own API: exactly the right key leaves the process, or none."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from scripts.demo.stand_in_provider import Failure, Misbehaviour
from tests.support.isolation import AZURE, PROVIDERS, STATES, Stage, staged
from tests.support.postgres import TemplatedServer


@pytest.fixture(scope="module", params=[pytest.param(True, id="global set"), pytest.param(False, id="global not set")])
def stage(
    request: pytest.FixtureRequest, postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with staged(postgres_server, tmp_path_factory.mktemp("models"), with_global_keys=request.param) as one:
        yield one


def call(stage: Stage, tenant: str, provider: str, **more: Any) -> httpx.Response:
    path = "v1/messages" if provider == "anthropic" else "v1/chat/completions"
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}], **more}
    return stage.client.native(tenant, provider, path, json=body)


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

    answer = call(stage, tenant, provider, stream=stream)

    arrived = stage.provider.requests
    if expected == "tenant" or (expected == "global" and stage.global_keys):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-credential-source"] == expected
        assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
        assert [request.key for request in arrived] == [key if expected == "tenant" else stage.global_keys[provider]]
        deployment = AZURE["deployment_name"] if expected == "tenant" else "gpt-global"
        assert provider != "azure" or f"/deployments/{deployment}/" in arrived[0].path
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
    answer = call(stage, tenant, provider)
    stage.provider.accepted = lambda presented: True
    assert (answer.status_code, answer.json()["code"]) == (424, "credential-rejected")
    assert [request.key for request in stage.provider.requests] == [key]
    assert key not in answer.text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_redirect_is_an_error_and_nobody_else_hears_of_the_key(stage: Stage, provider: str) -> None:
    tenant, key = str(uuid4()), f"sk-redirected-{uuid4().hex}"
    stage.set(tenant, provider, key)
    stage.provider.forget()
    stage.provider.misbehave = Misbehaviour(Failure.REDIRECT, location=f"{stage.thief.url}/v1/chat/completions")
    answer = call(stage, tenant, provider)
    stage.provider.misbehave = None
    assert (answer.status_code, answer.json()["code"]) == (502, "provider-unavailable")
    assert "location" not in answer.headers
    assert [request.key for request in stage.provider.requests] == [key]
    assert stage.thief.requests == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_after_delete_never_uses_the_deleted_key(stage: Stage, provider: str) -> None:
    tenant = str(uuid4())
    for number in range(3):
        key = f"sk-round-{number}-{uuid4().hex}"
        stage.set(tenant, provider, key)
        stage.provider.forget()
        assert call(stage, tenant, provider).status_code == 200
        assert [request.key for request in stage.provider.requests] == [key]
        stage.client.delete(tenant, provider)
        stage.provider.forget()
        call(stage, tenant, provider)
        assert key not in {request.key for request in stage.provider.requests}
