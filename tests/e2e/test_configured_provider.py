"""A provider that a few lines of configuration add works everywhere a built-in one does."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served

OTHER = "22222222-2222-4222-8222-222222222222"
"""A tenant without a credential."""
OWN_KEY, GLOBAL_KEY = "key-of-the-tenant-1234", "key-of-the-platform-5678"


@dataclass(frozen=True)
class Stage:
    client: Client
    provider: StandInProvider
    self_hosted: bool

    def arrived(self) -> tuple[str, str | None, str | None]:
        """Return the path of the last request, its key, and the header that carried it."""
        last = self.provider.requests[-1]
        return last.path, last.key, last.key_header


ROWS = [
    pytest.param(("authorization", False), id="a bearer token"),
    pytest.param(("x-api-key", False), id="a header of its own"),
    pytest.param(("authorization", True), id="self-hosted"),
]


@pytest.fixture(scope="module", params=ROWS)
def kind(request: pytest.FixtureRequest) -> tuple[str, bool]:
    header, self_hosted = request.param
    return str(header), bool(self_hosted)


@pytest.fixture(scope="module")
def header(kind: tuple[str, bool]) -> str:
    return kind[0]


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return str(uuid4())


@pytest.fixture(scope="module")
def stage(
    postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory, kind: tuple[str, bool]
) -> Iterator[Stage]:
    header, self_hosted = kind
    folder = tmp_path_factory.mktemp("configured")
    with postgres_server.fresh_database() as database_url, ExitStack() as stack:
        provider = stack.enter_context(StandInProvider(accepted={OWN_KEY, GLOBAL_KEY, "k"}, key_header=header))
        models, providers = folder / "ai_models.yml", folder / "providers.yml"
        row = {"name": "example", "base_url": f"{provider.url}/example/v1", "key_header": header, "key_min": 1}
        row |= {"self_hosted": True} if self_hosted else {}
        providers.write_text(json.dumps({"providers": [row]}), encoding="utf-8")
        chat = [
            {"name": "chat", "litellm_model_name": "example/chat-1"},
            {"name": "legacy", "family": "example"},
            {"name": "example/*", "litellm_model_name": "example/*"},
        ]
        embeddings = [{"name": "embed", "litellm_model_name": "example/embed-1"}]
        catalogue = {"completion_models": chat, "embedding_models": embeddings}
        models.write_text(json.dumps(catalogue), encoding="utf-8")
        settings = environment(
            AI_MODELS_FILE=str(models),
            PROVIDERS_FILE=str(providers),
            EXAMPLE_API_KEY=GLOBAL_KEY,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        client = stack.enter_context(client_of(stack.enter_context(served(database_url, settings))))
        yield Stage(client, provider, self_hosted)


def test_models_are_called_with_the_tenants_key_or_the_platforms(stage, tenant, header):
    assert stage.client.put(tenant, "example", api_key=OWN_KEY).status_code == 200
    for caller, key in ((tenant, OWN_KEY), (OTHER, GLOBAL_KEY)):
        for model, upstream in (("chat", "chat-1"), ("example/other", "other")):
            assert stage.client.chat(caller, model).status_code == 200
            assert stage.arrived() == ("/example/v1/chat/completions", key, header)
            assert stage.provider.requests[-1].body["model"] == upstream
        assert stage.client.embed(caller, "embed").status_code == 200
        assert stage.arrived() == ("/example/v1/embeddings", key, header)
        listed = stage.client.native(caller, "example", "v1/models", "GET")
        assert listed.status_code == (200 if key == OWN_KEY else 403), "the platform's key serves models only"
        body = {"model": "chat-1", "messages": []}
        assert stage.client.native(caller, "example", "v1/chat/completions", json=body).status_code == 200
        assert stage.arrived() == ("/example/v1/chat/completions", key, header)
        assert stage.client.native(caller, "example", "v1/organization/users", "GET").status_code == 403
        assert stage.client.chat(caller, "legacy").status_code == 200
        assert stage.arrived() == ("/example/v1/chat/completions", GLOBAL_KEY, header)


def test_a_tenants_endpoint_is_used_and_a_refused_key_is_an_error(stage, tenant, header):
    endpoint = f"{stage.provider.url}/of-the-tenant/v1"
    assert stage.client.put(tenant, "example", api_key="k", endpoint=endpoint).status_code == 200
    assert stage.client.chat(tenant, "chat").status_code == 200
    assert stage.arrived() == ("/of-the-tenant/v1/chat/completions", "k", header)
    assert stage.client.put(tenant, "example", api_key="wrong").status_code == 200
    answer = stage.client.chat(tenant, "chat")
    assert (answer.status_code, answer.json()["code"]) == (424, "credential-rejected")


@pytest.mark.parametrize("endpoint", ["http://10.0.0.5:8000", "https://10.0.0.5/v1", "http://gpu.lan:8000/v1"])
def test_a_private_endpoint_is_taken_only_where_servers_are_the_tenants_own(stage, tenant, endpoint):
    answer = stage.client.put(tenant, "example", api_key=OWN_KEY, endpoint=endpoint)
    assert answer.status_code == (200 if stage.self_hosted else 422), answer.text
    listed = stage.client.http.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials").json()["credentials"]
    kept = [one["config"]["endpoint"] for one in listed]
    assert kept == ([endpoint.removesuffix("/v1")] if stage.self_hosted else [])


@pytest.mark.parametrize(
    "endpoint", ["http://169.254.169.254/v1", "http://[::ffff:169.254.169.254]", "http://0.0.0.0:80"]
)
def test_a_configured_provider_makes_no_metadata_address_allowed(stage, tenant, endpoint):
    answer = stage.client.put(tenant, "example", api_key=OWN_KEY, endpoint=endpoint)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "endpoint")


def test_it_is_listed_found_documented_and_has_a_history(stage, tenant):
    assert stage.client.put(tenant, "example", api_key=OWN_KEY).status_code == 200
    credentials = f"/api/v1/sysadmin/tenants/{tenant}/credentials"
    get = stage.client.http.get
    assert [one["provider"] for one in get(credentials).json()["credentials"]] == ["example"]
    assert get(f"{credentials}/example").json()["masked_key"] == "...1234"
    assert len(get(f"{credentials}/example/history").json()["entries"]) == 1
    assert (
        len(
            get("/api/v1/audit/entries", params={"q": f"tenant:{tenant} provider:example action:set"}).json()["entries"]
        )
        == 1
    )
    then = get(credentials, params={"as_of": get(f"{credentials}/example").json()["configured_at"]})
    assert [one["provider"] for one in then.json()["credentials"]] == ["example"]
    parameters = get("/openapi.json").json()["paths"][f"{credentials.replace(tenant, '{tenant_id}')}/{{provider}}"]
    (named,) = [one for one in parameters["put"]["parameters"] if one["name"] == "provider"]
    assert "example" in named["schema"]["enum"]
    unknown = stage.client.put(tenant, "another", api_key=OWN_KEY)
    assert (unknown.status_code, "example" in unknown.json()["detail"]) == (404, True)
    assert stage.client.delete(tenant, "example").status_code == 200
    assert get(credentials).json() == {"credentials": []}
