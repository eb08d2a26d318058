"""The routes of OpenAI's API that are relayed: the provider's own bytes, for a model of the catalogue.

Chat completions, embeddings and the list of models are not among them: these are translated (see `models`).
Promises: a path has at most one route. Which providers have a route is in their rows (`Provider.routes`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from domain.calls.models import Model, ModelKind
from domain.calls.native import Body, Headers, NativeAnswer
from domain.credentials.admission import Admission
from domain.credentials.providers import Provider, Providers
from domain.errors import InvalidField, InvalidRequestError


@dataclass(frozen=True, slots=True)
class OpenAIRoute:
    """One route. name: as providers' rows list it, and its path below the provider's base address.

    method: of its requests. kinds: of the models that it may be called with. form: its body may be multipart.
    """

    name: str
    method: str
    kinds: frozenset[ModelKind]
    form: bool = False


def _of_a_model(name: str, kind: ModelKind, *, form: bool = False) -> OpenAIRoute:
    return OpenAIRoute(name, "POST", frozenset({kind, ModelKind.COMPLETION}), form)


ROUTES: Mapping[str, OpenAIRoute] = {
    route.name: route
    for route in (
        _of_a_model("completions", ModelKind.COMPLETION),
        _of_a_model("moderations", ModelKind.MODERATION),
        _of_a_model("images/generations", ModelKind.IMAGE),
        _of_a_model("images/edits", ModelKind.IMAGE, form=True),
        _of_a_model("images/variations", ModelKind.IMAGE, form=True),
        _of_a_model("audio/speech", ModelKind.SPEECH),
        _of_a_model("audio/transcriptions", ModelKind.TRANSCRIPTION, form=True),
        _of_a_model("audio/translations", ModelKind.TRANSCRIPTION, form=True),
        _of_a_model("rerank", ModelKind.RERANK),
    )
}
"""By path below `.../openai/v1`."""


@dataclass(frozen=True, slots=True)
class RelayedCall:
    """One request to a relayed route.

    query, headers, body, length: as in `NativeCall`. admission: of a caller with an access key.
    begin: called with the model once it is known, before its key is resolved; raises what refuses the call.
    hold: called with the size of each piece of a body that has to be held; raises what refuses it.
    """

    tenant_id: str
    route: OpenAIRoute
    query: str = ""
    headers: Headers = ()
    body: bytes | Body = field(default=b"", repr=False)
    length: int | None = None
    admission: Admission | None = None
    begin: Callable[[Model], None] = field(default=lambda model: None, repr=False)
    hold: Callable[[int], None] = field(default=lambda size: None, repr=False)


class RelayedRoutes(Protocol):
    """Relays requests to routes of OpenAI's API on behalf of a tenant."""

    async def call(self, call: RelayedCall) -> NativeAnswer:
        """Find the model, resolve its provider's key, and send the request with the provider's name of the model.

        Raises NotFoundError for an unknown model, InvalidRequestError for one of a provider without the route, and what
        `NativeApis.call` raises. The pieces of a stream that ends before its proper end raise ProviderUnavailableError.
        """
        ...


def require_kind(model: Model, route: OpenAIRoute) -> None:
    """Raise InvalidRequestError for a model that is for other routes."""
    if model.kind not in route.kinds:
        raise InvalidRequestError([InvalidField("model", f"is for {model.kind.value}; call {routes_of(model.kind)}")])


def routes_of(kind: ModelKind) -> str:
    """Return the routes for models of a kind, for errors."""
    translated = {ModelKind.COMPLETION: ["chat/completions"], ModelKind.EMBEDDING: ["embeddings"]}
    names = translated.get(kind) or [route.name for route in ROUTES.values() if kind in route.kinds]
    return " or ".join(f".../openai/v1/{name}" for name in names)


def require_route(provider: Provider, route: OpenAIRoute, providers: Providers) -> None:
    """Raise InvalidRequestError if a provider does not have a route."""
    if route.name in provider.routes:
        return
    having = [row.name for row in providers.values() if route.name in row.routes]
    others = f"use a model of {_listed(having)}" if having else "no known provider has it"
    raise InvalidRequestError(
        [InvalidField("model", f"is a model of {provider.name}, which has no {route.name}; {others}")]
    )


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


PATH = re.compile("|".join(re.escape(name) for name in ROUTES))
"""Every path of a relayed route, below `.../openai/v1/`."""


def route_of(path: str) -> OpenAIRoute:
    """Return the route of a path that `PATH` matches."""
    return ROUTES[path]
