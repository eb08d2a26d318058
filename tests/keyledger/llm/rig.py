"""A gateway with its own small catalogue and a resolver that answers from a dictionary, against a stand-in provider."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from domain.audit.usage import UsageMeter
from domain.calls.models import Adapter, Answer, AnswerStream, Model, ModelKind
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.resolution import Receipt, ResolvedCredential, Resolver, Route, Source
from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.errors import NoCredentialError
from keyledger.llm import CallConfiguration, Gateway, Timeouts
from keyledger.llm.wire.dialling import Lookup
from keyledger.settings.ai_models import Catalogue
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.meter import ListeningMeter

T = TypeVar("T")

PROVIDERS = ("openai", "anthropic", "mistral", "ovhcloud", "berget", "azure", "vllm")
TENANT = "6a0e4e3c-50a5-4c2c-9c53-0c5c8d0a7e11"
KEY = "sk-tenant-canary-5f3a9c"
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


CLAUDES = ("claude-sonnet-4-5", "claude-opus-4-6", "claude-mythos-5")


def catalogue() -> Catalogue:
    """For each provider and adapter a model for chat and one for embeddings: `openai-litellm`, `openai-legacy-emb`.

    And a few of Anthropic's own, which LiteLLM knows by name, and one for chat of each further row.
    """
    return Catalogue(
        "test_models.yml",
        tuple(
            Model(f"{provider}-{adapter.value}{suffix}", kind, provider, adapter, f"up/{provider}-model")
            for provider in PROVIDERS
            for adapter in Adapter
            for suffix, kind in (("", ModelKind.COMPLETION), ("-emb", ModelKind.EMBEDDING))
        )
        + tuple(
            Model(f"{other}-litellm", ModelKind.COMPLETION, other, Adapter.LITELLM, f"up/{other}-model")
            for other in BUILT_IN
            if other not in PROVIDERS
        )
        + tuple(Model(name, ModelKind.COMPLETION, "anthropic", Adapter.LITELLM, name) for name in CLAUDES),
    )


def base_path(provider: str) -> str:
    """The address of this provider on the stand-in, as an administrator would write it."""
    return f"/{provider}" if provider in {"anthropic", "azure", "vllm"} else f"/{provider}/v1"


@dataclass
class Keys(Resolver):
    """A resolver whose answers the test chooses. `chosen_by_tenant` marks endpoints as tenants' own."""

    url: str
    keys: Mapping[str, str] = field(default_factory=lambda: {TENANT: KEY})
    api_version: str = "2024-10-21"
    chosen_by_tenant: bool = False

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        row = BUILT_IN.named(provider)
        if tenant_id not in self.keys:
            raise NoCredentialError(tenant_id, provider, "neither the tenant nor the platform has one")
        azure = provider == "azure"
        receipt = (
            Receipt(Source.TENANT, provider, 3, "k0123456789") if tenant_capable else Receipt(Source.GLOBAL, provider)
        )
        return Route(
            receipt,
            row,
            self.url + base_path(provider),
            self.chosen_by_tenant,
            self.api_version if azure else None,
            "dep-1" if azure else None,
            None,
        )

    async def resolve(
        self, tenant_id: str, provider: str, *, tenant_capable: bool, admission: object = None
    ) -> ResolvedCredential:
        route = await self.explain(tenant_id, provider, tenant_capable=tenant_capable)
        return ResolvedCredential(route, Secret(self.keys[tenant_id]))


def with_gateway(
    resolver: Keys,
    use: Callable[[Gateway], Awaitable[T]],
    *,
    allowed: tuple[str, ...] = (),
    timeouts: Timeouts | None = None,
    lookup: Lookup | None = None,
    meter: UsageMeter | None = None,
) -> T:
    """Run `use` with a gateway in an event loop of its own, and end with nothing open."""

    async def run() -> T:
        gateway = Gateway(
            lambda: CallConfiguration(catalogue(), resolver, EndpointRules.of(allowed)),
            timeouts or Timeouts(connect=5, answer=10),
            lookup,
            meter=meter or ListeningMeter(),
        )
        try:
            return await use(gateway)
        finally:
            await gateway.stop()

    return asyncio.run(run())


async def overdue(call: Awaitable[T], arrived: Callable[[], object]) -> T:
    """Await a call to a provider that never answers, as if an hour had passed once its request arrived there.

    A short deadline instead would race the request to the provider, and on a busy machine win.
    """
    waiting = asyncio.ensure_future(call)
    while not arrived() and not waiting.done():  # noqa: ASYNC110  the provider is in another thread
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + 3600  # type: ignore[method-assign]
    return await waiting


async def whole(gateway: Gateway, model: str, tenant: str = TENANT, **params: Any) -> Mapping[str, Any]:
    """Complete a chat and return the answer's body."""
    answer = await gateway.complete(tenant, model, {"messages": HELLO, **params})
    assert isinstance(answer, Answer)
    return answer.body


async def chunks(gateway: Gateway, model: str, tenant: str = TENANT, **params: Any) -> list[Mapping[str, Any]]:
    """Complete a chat as a stream and return its chunks."""
    answer = await gateway.complete(tenant, model, {"messages": HELLO, "stream": True, **params})
    assert isinstance(answer, AnswerStream)
    return [chunk async for chunk in answer.chunks]


def text_of(pieces: list[Mapping[str, Any]]) -> str:
    """Return what a stream says."""
    return "".join(c["delta"].get("content") or "" for piece in pieces for c in piece["choices"])


def stand_in(*keys: str) -> StandInProvider:
    """Return a provider that accepts these keys, the usual one where none are given."""
    return StandInProvider(accepted=set(keys or (KEY,)))
