"""One credential has one address: what arrives is what the plan says, by every way and in every spelling."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from domain.native import NativeCall
from domain.resolution import Route
from keyledger.llm import Gateway, PassThrough
from keyledger.llm.plans import plan
from scripts.stand_in_provider import StandInProvider
from tests.llm.rig import KEY, PROVIDERS, TENANT, Keys, chunks, stand_in, whole, with_gateway
from tests.llm.test_native import body_of, with_pass_through

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
SPELLINGS = {"azure": OF_AZURE, "anthropic": VERSION_PUT_ON, "vllm": VERSION_PUT_ON}
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

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        return replace(route, base_url=self.url + self.spelling)


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
@pytest.mark.parametrize("version", ["2024-10-21", "v1"])
@pytest.mark.parametrize("adapter", ["litellm", "legacy"])
@pytest.mark.parametrize("way", WAYS)
def test_what_arrives_is_what_the_plan_says(server, provider, spelling, begins, version, adapter, way):
    if way == "embeddings" and provider == "anthropic":
        pytest.skip("anthropic has none")
    if version == "v1" and provider != "azure":
        pytest.skip("only azure has versions")
    keys = Spelt(server.url, api_version=version, spelling=spelling)
    name = f"{provider}-{adapter}"

    async def use(gateway: Gateway) -> str:
        route = await keys.explain(TENANT, provider, tenant_capable=True)
        await WAYS[way](gateway, name)
        return plan(gateway.model(f"{name}-emb" if way == "embeddings" else name), route).url

    planned = urlsplit(with_gateway(keys, use))
    path, query = _arrived(server)
    assert (path, query) == (planned.path, dict(parse_qsl(planned.query)))
    operation = {"embeddings": "embeddings"}.get(way, "messages" if provider == "anthropic" else "chat/completions")
    middle = {"": "", "2024-10-21": "/openai/deployments/dep-1", "v1": "/openai/v1"}[
        version if provider == "azure" else ""
    ]
    assert path == f"{begins}{middle}/{operation}"


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
