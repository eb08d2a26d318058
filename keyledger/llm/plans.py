"""What LiteLLM calls each provider, and where a call to a model goes.

A plan is computed from the model and the resolved route alone and holds no key. Its addresses are those of `reach`.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.llm import Model, ModelKind
from domain.resolution import Route
from keyledger.llm.lease import KeyHeader, Origin
from keyledger.llm.reach import Reach, reach_of


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
    "openai": _Shape("openai", Client.PLAIN, Client.OPENAI),
    "anthropic": _Shape("anthropic", Client.PLAIN, Client.PLAIN),
    "mistral": _Shape("mistral", Client.PLAIN, Client.OPENAI),
    "ovhcloud": _Shape("ovhcloud", Client.PLAIN, Client.PLAIN),
    # LiteLLM does not know Berget; this is its word for any server that speaks OpenAI's API.
    "berget": _Shape("hosted_vllm", Client.PLAIN, Client.PLAIN),
    "azure": _Shape("azure", Client.AZURE, Client.AZURE),
    "vllm": _Shape("hosted_vllm", Client.PLAIN, Client.PLAIN),
}


def dialect_of(provider: str) -> Dialect:
    """Return what a provider speaks."""
    return Dialect.ANTHROPIC if provider == "anthropic" else Dialect.OPENAI


def plan(model: Model, route: Route) -> Plan:
    """Return how to call `model` by `route`. Raises ProviderUnavailable where the route lacks something."""
    reach = reach_of(model.provider, route, deployment=model.upstream_name)
    if model.provider == "azure":
        return _azure(model, route, reach)
    if model.provider == "anthropic":
        return _plan(model, reach, reach.base.removesuffix("/v1"), "messages")
    return _plan(model, reach, reach.base, _path(model))


def _plan(model: Model, reach: Reach, base_url: str, path: str) -> Plan:
    shape = _SHAPES[model.provider]
    return Plan(
        provider=model.provider,
        dialect=dialect_of(model.provider),
        origin=reach.origin,
        header=reach.header,
        base_url=base_url,
        client_url=base_url,
        url=reach.url(path, ""),
        litellm_model=f"{shape.prefix}/{model.upstream_name}",
        upstream_model=model.upstream_name,
        client=shape.embeddings if model.kind is ModelKind.EMBEDDING else shape.chat,
    )


def _azure(model: Model, route: Route, reach: Reach) -> Plan:
    assert reach.deployment is not None  # noqa: S101  what reaches Azure has one
    root = reach.base.removesuffix("/v1").removesuffix("/openai")
    versionless = reach.api_version is None
    return Plan(
        provider=model.provider,
        dialect=Dialect.OPENAI,
        origin=reach.origin,
        header=reach.header,
        base_url=root,
        client_url=reach.base if versionless else root,
        url=reach.url(_path(model), ""),
        litellm_model=f"azure/{reach.deployment}",
        upstream_model=reach.deployment,
        # Without a version in the path, Azure speaks plain OpenAI.
        client=Client.OPENAI if versionless else Client.AZURE,
        api_version=route.api_version,
    )


def _path(model: Model) -> str:
    return "embeddings" if model.kind is ModelKind.EMBEDDING else "chat/completions"
