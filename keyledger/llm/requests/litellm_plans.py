"""Plans a call to a model: its URL, and what LiteLLM calls it.

A plan is computed from the model and the resolved route only, and holds no key. Its URLs come from
`provider_addresses`.
"""

from dataclasses import dataclass

from domain.calls.models import Model, ModelKind
from domain.credentials.providers import Dialect, Provider
from domain.credentials.resolution import Route
from keyledger.llm.requests.origin import KeyHeader, Origin
from keyledger.llm.requests.provider_addresses import ProviderAddress, provider_address


@dataclass(frozen=True, slots=True)
class Plan:
    """How one call is made.

    row: of its provider. base_url: LiteLLM's `api_base`, without a trailing slash. url: of the request, with its query.
    litellm_model: LiteLLM's prefix and the catalogue's name of the model, which tell what it supports. upstream_model:
    the model's name in the request's body.
    """

    row: Provider
    origin: Origin
    header: KeyHeader
    base_url: str
    url: str
    litellm_model: str
    upstream_model: str
    api_version: str | None = None


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
        row=provider,
        origin=address.origin,
        header=address.header,
        base_url=base_url,
        url=address.url(path, ""),
        litellm_model=f"{provider.litellm_prefix}/{model.upstream_name}",
        upstream_model=model.upstream_name,
    )


def _azure(model: Model, route: Route, address: ProviderAddress) -> Plan:
    assert address.deployment is not None  # noqa: S101  an Azure address always has one
    root = address.base.removesuffix("/v1").removesuffix("/openai")
    return Plan(
        row=route.provider,
        origin=address.origin,
        header=address.header,
        base_url=root,
        url=address.url(_path(model), ""),
        litellm_model=f"{route.provider.litellm_prefix}/{model.upstream_name}",
        upstream_model=address.deployment,
        api_version=route.api_version,
    )


def _path(model: Model) -> str:
    return "embeddings" if model.kind is ModelKind.EMBEDDING else "chat/completions"
