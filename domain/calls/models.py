"""Calls to language models in the domain's words: models by name, answers with their receipt.

Bodies are the OpenAI API's JSON objects, in and out, whichever provider serves the call.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from domain.credentials.resolution import Receipt, Route
from domain.errors import ErrorCode, NotFoundError

Json = Mapping[str, object]
ANY = "*"
"""At the end of a model's name: any ending."""


class Chunks(Protocol):
    """The chunks of a streamed answer, one JSON object each."""

    def __aiter__(self) -> AsyncIterator[Json]:
        """Return the iterator over what has not been read yet."""
        ...

    async def __anext__(self) -> Json:
        """Return the next chunk. Raises a ServiceError where the provider fails midway."""
        ...

    async def aclose(self) -> None:
        """End the connection of an answer that is not wanted any more. Does nothing after the end."""
        ...


class ModelKind(StrEnum):
    """What a model is for."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"


class Adapter(StrEnum):
    """How a model is called. The legacy adapter uses global keys only."""

    LITELLM = "litellm"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the catalogue. `upstream_name` is what the provider calls it; `aliases` are other names for it."""

    name: str
    kind: ModelKind
    provider: str
    adapter: Adapter
    upstream_name: str
    aliases: tuple[str, ...] = ()

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for every model whose name begins like its own."""
        return self.name.endswith(ANY)

    @property
    def tenant_capable(self) -> bool:
        """Whether a tenant's own key may serve it."""
        return self.adapter is Adapter.LITELLM


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    receipt: Receipt
    body: Json


@dataclass(frozen=True, slots=True)
class AnswerStream:
    """An answer in chunks. Iterating raises a ServiceError where the provider fails midway; close it when done."""

    receipt: Receipt
    chunks: "Chunks"


class LanguageModels(Protocol):
    """Calls models as a tenant.

    Raises what resolution raises, NotFoundError, InvalidRequestError and ProviderError.
    """

    def models(self) -> Sequence[Model]:
        """Return what applications may ask for by name."""
        ...

    def model(self, name: str) -> Model:
        """Return one model. Raises NotFoundError."""
        ...

    async def explain(self, tenant_id: str, model: str) -> Route:
        """Return where a call would go and with whose credential. Decrypts nothing, sends nothing."""
        ...

    async def complete(self, tenant_id: str, model: str, params: Json) -> Answer | AnswerStream:
        """Complete a chat. `params` are the OpenAI request's members; `stream: true` makes the answer a stream."""
        ...

    async def embed(self, tenant_id: str, model: str, params: Json) -> Answer:
        """Compute embeddings. `params` are the OpenAI request's members."""
        ...


def unknown_model(source: str) -> NotFoundError:
    """Return the error for a model that is not in the catalogue. source: where models come from."""
    return NotFoundError(
        ErrorCode.UNKNOWN_MODEL,
        f"This model is not in the catalogue. Models come from {source}; GET .../openai/v1/models lists them.",
    )
