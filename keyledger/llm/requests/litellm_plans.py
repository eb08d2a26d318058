"""Plans a call to a model: its URL, and the client that LiteLLM uses for it.

A plan is computed from the model and the resolved route only, and holds no key. Its URLs come from
`provider_addresses`.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.calls.models import Model, ModelKind
from domain.credentials.providers import Dialect, Provider
from domain.credentials.resolution import Route
from keyledger.llm.requests.origin import KeyHeader, Origin
from keyledger.llm.requests.provider_addresses import ProviderAddress, provider_address


class Client(StrEnum):
    """The kind of client that LiteLLM uses for a provider: an SDK of OpenAI's, or its own HTTP client (PLAIN)."""

    OPENAI = "openai"
    AZURE = "azure"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one call is made.

    base_url: LiteLLM's `api_base`, without a trailing slash. client_url: the base URL of its client. url: the URL of
    the request, with its query. litellm_model: LiteLLM's prefix and the model's name. upstream_model: the model's name
    in the request's body.
    """

    provider: str
    dialect: Dialect
    origin: Origin
    header: KeyHeader
    base_url: str
    client_url: str
    url: str
    litellm_model: str
    upstream_model: str
    client: Client
    api_version: str | None = None


def client_of(provider: Provider, kind: ModelKind) -> Client:
    """Return the kind of client for a provider's calls to models of `kind`."""
    if provider.dialect is Dialect.AZURE:
        return Client.AZURE
    with_sdk = kind is ModelKind.EMBEDDING and provider.litellm_embeds_with_sdk
    return Client.OPENAI if with_sdk else Client.PLAIN


def plan(model: Model, route: Route) -> Plan:
    """Return how to call `model` by `route`. Raises ProviderUnavailableError for an incomplete route."""
    address = provider_address(route, deployment=model.upstream_name)
    if route.provider.dialect is Dialect.AZURE:
        return _azure(model, route, address)
    if route.provider.dialect is Dialect.ANTHROPIC:
        return _plan(model, route.provider, address, address.base.removesuffix("/v1"), "messages")
    return _plan(model, route.provider, address, address.base, _path(model))


def _plan(model: Model, provider: Provider, address: ProviderAddress, base_url: str, path: str) -> Plan:
    return Plan(
        provider=provider.name,
        dialect=provider.dialect,
        origin=address.origin,
        header=address.header,
        base_url=base_url,
        client_url=base_url,
        url=address.url(path, ""),
        litellm_model=f"{provider.litellm_prefix}/{model.upstream_name}",
        upstream_model=model.upstream_name,
        client=client_of(provider, model.kind),
    )


def _azure(model: Model, route: Route, address: ProviderAddress) -> Plan:
    assert address.deployment is not None  # noqa: S101  an Azure address always has one
    root = address.base.removesuffix("/v1").removesuffix("/openai")
    versionless = address.api_version is None
    return Plan(
        provider=model.provider,
        dialect=Dialect.AZURE,
        origin=address.origin,
        header=address.header,
        base_url=root,
        client_url=address.base if versionless else root,
        url=address.url(_path(model), ""),
        litellm_model=f"{route.provider.litellm_prefix}/{address.deployment}",
        upstream_model=address.deployment,
        # Without a version in the query, Azure's API is OpenAI's.
        client=Client.OPENAI if versionless else Client.AZURE,
        api_version=route.api_version,
    )


def _path(model: Model) -> str:
    return "embeddings" if model.kind is ModelKind.EMBEDDING else "chat/completions"
