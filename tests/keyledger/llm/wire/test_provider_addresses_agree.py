"""One credential has one address: what arrives is what the plan says, by every way and in every spelling."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from domain.calls.native import NativeCall
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import Provider
from domain.credentials.resolution import Route
from keyledger.llm import Gateway, PassThrough
from keyledger.llm.requests.litellm_plans import plan
from scripts.demo.stand_in_provider import StandInProvider
from tests.keyledger.llm.native.test_pass_through import body_of, with_pass_through
from tests.keyledger.llm.rig import KEY, PROVIDERS, TENANT, Keys, chunks, stand_in, whole, with_gateway

LIKE_OPENAI = {
    "": "/v1",
    "/": "/v1",
    "/v1": "/v1",
    "/v1/": "/v1",
    "/v1/chat/completions": "/v1",
    "/v1/embeddings": "/v1",
    "/v1/responses/": "/v1",
    "/chat/completions": "/v1",
    "/gateway/x/v1": "/gateway/x/v1",
    "/gateway/x/v1/chat/completions": "/gateway/x/v1",
    "/gateway/x": "/gateway/x",
    "/v1beta/openai": "/v1beta/openai",
}
VERSION_PUT_ON = {
    "": "/v1",
    "/": "/v1",
    "/v1": "/v1",
    "/v1/": "/v1",
    "/v1/chat/completions": "/v1",
    "/v1/messages": "/v1",
    "/gateway/x": "/gateway/x/v1",
    "/gateway/x/v1/": "/gateway/x/v1",
}
OF_AZURE = {
    "": "",
    "/": "",
    "/openai": "",
    "/openai/v1/": "",
    "/openai/deployments/dep-1": "",
    "/openai/deployments/dep-1/chat/completions": "",
    "/openai/responses": "",
    "/gateway/x": "/gateway/x",
    "/gateway/x/openai/": "/gateway/x",
}
ENDING_IN_THE_VERSION = {**LIKE_OPENAI, "/gateway/x": "/gateway/x/v1", "/v1beta/openai": "/v1beta/openai/v1"}
SPELLINGS = {"azure": OF_AZURE, "anthropic": VERSION_PUT_ON, "vllm": VERSION_PUT_ON, "mistral": ENDING_IN_THE_VERSION}
EACH = pytest.mark.parametrize(
    ("provider", "spelling", "begins"),
    [
        pytest.param(provider, spelling, begins, id=f"{provider}{spelling or ' alone'}")
        for provider in PROVIDERS
        for spelling, begins in SPELLINGS.get(provider, LIKE_OPENAI).items()
    ],
)


@dataclass
class Spelt(Keys):
    """A credential whose endpoint is written in some way."""

    spelling: str = ""
    row: Provider | None = None

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        return replace(route, base_url=self.url + self.spelling, provider=self.row or route.provider)


@pytest.fixture(scope="module")
def _running() -> Iterator[StandInProvider]:
    with stand_in() as running:
        yield running


@pytest.fixture
def server(_running: StandInProvider) -> StandInProvider:
    _running.forget()
    return _running


async def _embed(gateway: Gateway, model: str) -> object:
    return await gateway.embed(TENANT, f"{model}-emb", {"input": "hello"})


WAYS: dict[str, Callable[[Gateway, str], Awaitable[object]]] = {
    "chat": whole,
    "streamed chat": chunks,
    "embeddings": _embed,
}


def _arrived(server: StandInProvider) -> tuple[str, dict[str, str]]:
    (request,) = server.requests
    assert request.key == KEY
    return request.path, request.query


@EACH
@pytest.mark.parametrize(
    ("adapter", "way"), [*(("litellm", way) for way in WAYS), ("legacy", "chat"), ("legacy", "embeddings")]
)
def test_what_arrives_is_what_the_plan_says(server, provider, spelling, begins, adapter, way):
    if way == "embeddings" and provider == "anthropic":
        pytest.skip("anthropic has none")
    keys = Spelt(server.url, spelling=spelling)
    path, query = _called_as_planned(server, keys, f"{provider}-{adapter}", way)
    operation = {"embeddings": "embeddings"}.get(way, "messages" if provider == "anthropic" else "chat/completions")
    middle = "/openai/deployments/dep-1" if provider == "azure" else ""
    assert path == f"{begins}{middle}/{operation}"
    assert query == ({"api-version": "2024-10-21"} if provider == "azure" else {})


@pytest.mark.parametrize(("spelling", "begins"), OF_AZURE.items())
@pytest.mark.parametrize("way", WAYS)
def test_azure_without_versions_is_called_as_planned(server, spelling, begins, way):
    keys = Spelt(server.url, api_version="v1", spelling=spelling)
    path, query = _called_as_planned(server, keys, "azure-litellm", way)
    assert path == f"{begins}/openai/v1/{'embeddings' if way == 'embeddings' else 'chat/completions'}"
    assert "api-version" not in query


@pytest.mark.parametrize(
    ("base_url", "begins"),
    [("https://api.example.com/", ""), ("https://api.example.com/v3", "/v1")],
    ids=["bare", "not"],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_provider_of_one_s_own_is_called_with_a_version_where_its_own_address_has_one(server, base_url, begins, way):
    row = replace(BUILT_IN["berget"], base_url=base_url)
    path, _ = _called_as_planned(server, Spelt(server.url, row=row), "berget-litellm", way)
    assert path == f"{begins}/{'embeddings' if way == 'embeddings' else 'chat/completions'}"


def _called_as_planned(server: StandInProvider, keys: Spelt, name: str, way: str) -> tuple[str, dict[str, str]]:
    async def use(gateway: Gateway) -> str:
        model = gateway.model(f"{name}-emb" if way == "embeddings" else name)
        await WAYS[way](gateway, name)
        return plan(model, await keys.explain(TENANT, model.provider, tenant_capable=True)).url

    planned = urlsplit(with_gateway(keys, use))
    arrived = _arrived(server)
    assert arrived == (planned.path, dict(parse_qsl(planned.query)))
    return arrived


@EACH
@pytest.mark.parametrize("written", ["v1/{}", "{}"])
def test_a_native_call_arrives_where_the_gateway_calls(server, provider, spelling, begins, written):
    keys = Spelt(server.url, spelling=spelling)
    operation = "messages" if provider == "anthropic" else "chat/completions"
    call = NativeCall(
        TENANT, provider, "POST", written.format(operation), body=b'{"model": "m", "messages": [], "max_tokens": 1}'
    )

    async def natively(apis: PassThrough) -> None:
        await body_of(await apis.call(call))

    with_pass_through(keys, natively)
    path, query = _arrived(server)
    server.forget()
    with_gateway(keys, lambda gateway: whole(gateway, f"{provider}-litellm"))
    assert _arrived(server) == (path, query)
    assert path.startswith(f"{begins}/")
