"""The routes of OpenAI's API that are relayed: the provider's own bytes, under the provider's name of the model.

Chat completions, embeddings and the list of models are not among them: these are translated (see `models`).
Promises: a path and a method have at most one route. Which providers have a route is in their rows (`Provider.routes`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from domain.calls.call_admission import CallAdmission
from domain.calls.models import Model, ModelKind
from domain.calls.native import Body, Headers, NativeAnswer
from domain.credentials.openai_route_names import (
    BATCHES,
    COMPLETIONS,
    EDITS,
    FILES,
    IMAGES,
    MODERATIONS,
    RERANK,
    RESPONSES,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    VARIATIONS,
)
from domain.credentials.providers import Provider, Providers
from domain.errors import InvalidField, InvalidRequestError

_ID = "{id}"


@dataclass(frozen=True, slots=True)
class OpenAIRoute:
    """One route. group: as providers' rows list it. method, path: of its requests, below `.../openai/v1`.

    kinds: of the models that it may be called with; empty for a route that names none, so that the request has to name
    its provider. form: its body may be multipart.
    """

    group: str
    method: str
    path: str
    kinds: frozenset[ModelKind] = frozenset()
    form: bool = False

    @property
    def names_model(self) -> bool:
        """Whether its requests name a model; others reach what an account keeps."""
        return bool(self.kinds)

    @property
    def generates(self) -> bool:
        """Whether its requests have a provider generate something, which it bills."""
        return (self.names_model and self.path not in _FREE) or (self.method, self.path) == ("POST", BATCHES)


_FREE = frozenset({MODERATIONS, "responses/input_tokens"})


def _of_a_model(path: str, kind: ModelKind, *, group: str = "", form: bool = False) -> OpenAIRoute:
    return OpenAIRoute(group or path, "POST", path, frozenset({kind, ModelKind.COMPLETION}), form)


ROUTES: Sequence[OpenAIRoute] = (
    _of_a_model(COMPLETIONS, ModelKind.COMPLETION),
    _of_a_model(MODERATIONS, ModelKind.MODERATION),
    _of_a_model(IMAGES, ModelKind.IMAGE),
    _of_a_model(EDITS, ModelKind.IMAGE, form=True),
    _of_a_model(VARIATIONS, ModelKind.IMAGE, form=True),
    _of_a_model(SPEECH, ModelKind.SPEECH),
    _of_a_model(TRANSCRIPTIONS, ModelKind.TRANSCRIPTION, form=True),
    _of_a_model(TRANSLATIONS, ModelKind.TRANSCRIPTION, form=True),
    _of_a_model(RERANK, ModelKind.RERANK),
    _of_a_model(RESPONSES, ModelKind.COMPLETION),
    _of_a_model("responses/compact", ModelKind.COMPLETION, group=RESPONSES),
    _of_a_model("responses/input_tokens", ModelKind.COMPLETION, group=RESPONSES),
    OpenAIRoute(RESPONSES, "GET", "responses/{id}"),
    OpenAIRoute(RESPONSES, "DELETE", "responses/{id}"),
    OpenAIRoute(RESPONSES, "POST", "responses/{id}/cancel"),
    OpenAIRoute(RESPONSES, "GET", "responses/{id}/input_items"),
    OpenAIRoute(FILES, "GET", "files"),
    OpenAIRoute(FILES, "POST", "files"),
    OpenAIRoute(FILES, "GET", "files/{id}"),
    OpenAIRoute(FILES, "DELETE", "files/{id}"),
    OpenAIRoute(FILES, "GET", "files/{id}/content"),
    OpenAIRoute(BATCHES, "GET", "batches"),
    OpenAIRoute(BATCHES, "POST", "batches"),
    OpenAIRoute(BATCHES, "GET", "batches/{id}"),
    OpenAIRoute(BATCHES, "POST", "batches/{id}/cancel"),
)
"""Each route. Where two paths fit a request, the one without an id is meant."""

_AT: Mapping[str, Mapping[str, OpenAIRoute]] = {
    path: {route.method: route for route in ROUTES if route.path == path}
    for path in sorted({route.path for route in ROUTES}, key=lambda path: path.count(_ID))
}
_FORMS = {path: re.compile(re.escape(path).replace(r"\{id\}", "[A-Za-z0-9_-][A-Za-z0-9._-]{0,255}")) for path in _AT}
PATH = re.compile("|".join(form.pattern for form in _FORMS.values()))
"""Every path of a relayed route, below `.../openai/v1/`."""


def routes_at(path: str) -> Mapping[str, OpenAIRoute]:
    """Return the routes of a path that `PATH` matches, by method."""
    return next(_AT[known] for known, form in _FORMS.items() if form.fullmatch(path))


@dataclass(frozen=True, slots=True)
class RelayedCall:
    """One request to a relayed route.

    path: of the route, with its id. provider: the one that the request names, if it does. query, headers, body, length:
    as in `NativeCall`, the query without the provider. admission: of a caller with an access key.
    begin: called with the provider and the model once they are known, before the key is resolved; raises what refuses
    the call. hold: called with the size of each piece of a body that has to be held; raises what refuses it.
    """

    tenant_id: str
    route: OpenAIRoute
    path: str
    provider: str | None = None
    query: str = ""
    headers: Headers = ()
    body: bytes | Body = field(default=b"", repr=False)
    length: int | None = None
    admission: CallAdmission | None = None
    begin: Callable[[str, Model | None], None] = field(default=lambda provider, model: None, repr=False)
    hold: Callable[[int], None] = field(default=lambda size: None, repr=False)


class RelayedRoutes(Protocol):
    """Relays requests to routes of OpenAI's API on behalf of a tenant."""

    async def call(self, call: RelayedCall) -> NativeAnswer:
        """Find model and provider, resolve the provider's key, and send the request.

        Raises NotFoundError for an unknown model or provider, InvalidRequestError for a provider without the route, and
        what `NativeApis.call` raises. The pieces of a stream that ends before its end raise ProviderUnavailableError.
        """
        ...


def require_kind(model: Model, route: OpenAIRoute) -> None:
    """Raise InvalidRequestError for a model that is for other routes."""
    if model.kind not in route.kinds:
        raise InvalidRequestError([InvalidField("model", f"is for {model.kind.value}; call {routes_of(model.kind)}")])


def routes_of(kind: ModelKind) -> str:
    """Return the routes for models of a kind, for errors."""
    translated = {ModelKind.COMPLETION: ["chat/completions"], ModelKind.EMBEDDING: ["embeddings"]}
    paths = translated.get(kind) or [route.path for route in ROUTES if kind in route.kinds]
    return " or ".join(f".../openai/v1/{path}" for path in paths)


def require_provider(model: Model, provider: str | None) -> None:
    """Raise InvalidRequestError for a request that names another provider than its model's."""
    if provider not in {None, model.provider}:
        raise InvalidRequestError([InvalidField("provider", f"is not the model's, which is {model.provider}")])


def require_route(provider: Provider, route: OpenAIRoute, providers: Providers) -> None:
    """Raise InvalidRequestError if a provider does not have a route."""
    if route.group in provider.routes:
        return
    having = having_route(route, providers)
    if route.names_model:
        called, others = f"is a model of {provider.name}, which", f"use a model of {having}"
        if route.group == RESPONSES:
            others = f"call .../openai/v1/chat/completions, or {others}"
        raise InvalidRequestError([InvalidField("model", f"{called} has no {route.group}; {others}")])
    raise InvalidRequestError([InvalidField("provider", f"{provider.name} has no {route.group}; {having} have")])


def having_route(route: OpenAIRoute, providers: Providers) -> str:
    """Return the names of the providers that have a route, for errors."""
    return _listed(row.name for row in providers.values() if route.group in row.routes)


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
