"""How each provider is reached: address, path, header of the key, and what LiteLLM calls it.

A plan is computed from the resolved route alone and holds no key. Promises: the addresses it names all lie at the
origin of the route's base URL, in the form the provider expects, whether or not the base URL was written with `/v1`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

import httpx

from domain.errors import ProviderUnavailable
from domain.llm import Model, ModelKind
from domain.resolution import Route
from keyledger.llm.lease import BEARER, KeyHeader, Origin
from keyledger.llm.wire import origin_of


class Dialect(StrEnum):
    """What a provider speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Client(StrEnum):
    """Which kind of client LiteLLM takes for a provider's calls."""

    OPENAI = "openai"
    AZURE = "azure"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Plan:
    """One call's way.

    base_url: what LiteLLM gets, without a slash at the end; client_url: what its client gets. url: where the request
    goes, with its query.
    litellm_model: provider prefix and name. upstream_model: the name in the request's body.
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


@dataclass(frozen=True, slots=True)
class _Shape:
    """How LiteLLM sees a provider: its prefix, and the client for chat and for embeddings."""

    prefix: str
    chat: Client
    embeddings: Client


_SHAPES = {
    "openai": _Shape("openai", Client.OPENAI, Client.OPENAI),
    "anthropic": _Shape("anthropic", Client.PLAIN, Client.PLAIN),
    "mistral": _Shape("mistral", Client.PLAIN, Client.OPENAI),
    "ovhcloud": _Shape("ovhcloud", Client.PLAIN, Client.PLAIN),
    # LiteLLM does not know Berget; this is its word for any server that speaks OpenAI's API.
    "berget": _Shape("hosted_vllm", Client.PLAIN, Client.PLAIN),
    "azure": _Shape("azure", Client.AZURE, Client.AZURE),
    "vllm": _Shape("hosted_vllm", Client.PLAIN, Client.PLAIN),
}
_VERSIONLESS_AZURE = frozenset({"v1", "latest", "preview"})
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def dialect_of(provider: str) -> Dialect:
    """Return what a provider speaks."""
    return Dialect.ANTHROPIC if provider == "anthropic" else Dialect.OPENAI


def plan(model: Model, route: Route) -> Plan:
    """Return how to call `model` by `route`. Raises ProviderUnavailable where the route lacks something."""
    base = route.base_url.rstrip("/")
    if model.provider == "azure":
        return _azure(model, route, base)
    if model.provider == "anthropic":
        root = base.removesuffix("/v1")
        return _plan(model, root, f"{root}/v1/messages", KeyHeader("x-api-key"), Dialect.ANTHROPIC)
    if model.provider == "vllm" and not base.endswith("/v1"):
        base = f"{base}/v1"
    return _plan(model, base, f"{base}/{_path(model)}", BEARER, Dialect.OPENAI)


def _plan(model: Model, base: str, url: str, header: KeyHeader, dialect: Dialect) -> Plan:
    shape = _SHAPES[model.provider]
    return Plan(
        provider=model.provider,
        dialect=dialect,
        origin=origin_of(httpx.URL(base)),
        header=header,
        base_url=base,
        client_url=base,
        url=url,
        litellm_model=f"{shape.prefix}/{model.upstream_name}",
        upstream_model=model.upstream_name,
        client=shape.embeddings if model.kind is ModelKind.EMBEDDING else shape.chat,
    )


def _azure(model: Model, route: Route, base: str) -> Plan:
    root = base.removesuffix("/v1").removesuffix("/openai")
    deployment = route.deployment_name or model.upstream_name
    if route.api_version is None:
        raise ProviderUnavailable(model.provider, "no-api-version-configured")
    # Other names would steer LiteLLM's routing or change the path.
    if not _DEPLOYMENT.fullmatch(deployment):
        raise ProviderUnavailable(model.provider, "deployment-name-not-usable")
    versionless = route.api_version in _VERSIONLESS_AZURE
    if versionless:
        url = f"{root}/openai/v1/{_path(model)}"
    else:
        url = f"{root}/openai/deployments/{deployment}/{_path(model)}?api-version={route.api_version}"
    return Plan(
        provider=model.provider,
        dialect=Dialect.OPENAI,
        origin=origin_of(httpx.URL(root)),
        header=BEARER if versionless else KeyHeader("api-key"),
        base_url=root,
        client_url=f"{root}/openai/v1" if versionless else root,
        url=url,
        litellm_model=f"azure/{deployment}",
        upstream_model=deployment,
        # Without a version in the path, Azure speaks plain OpenAI.
        client=Client.OPENAI if versionless else Client.AZURE,
        api_version=route.api_version,
    )


def _path(model: Model) -> str:
    return "embeddings" if model.kind is ModelKind.EMBEDDING else "chat/completions"
