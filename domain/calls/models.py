"""Calls to language models: models by name, and answers with their receipt.

Bodies are the OpenAI API's JSON objects, in and out, whichever provider serves the call.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from domain.calls.call_admission import CallAdmission
from domain.credentials.resolution import Receipt, Route
from domain.errors import ErrorCode, NotFoundError

Json = Mapping[str, object]
ANY = "*"
"""Stands for any ending of a model's name."""


class Chunks(Protocol):
    """The chunks of a streamed answer, one JSON object each."""

    def __aiter__(self) -> AsyncIterator[Json]:
        """Return an iterator over the chunks not yet read."""
        ...

    async def __anext__(self) -> Json:
        """Return the next chunk. Raises a ServiceError when the provider fails midway."""
        ...

    async def aclose(self) -> None:
        """Close the connection of an answer that is no longer needed. Has no effect after the last chunk."""
        ...


class ModelKind(StrEnum):
    """The purpose of a model."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    IMAGE = "image"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"
    MODERATION = "moderation"
    RERANK = "rerank"


class Adapter(StrEnum):
    """How a model is called. The legacy adapter uses global keys only."""

    LITELLM = "litellm"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the catalogue. upstream_name: its name at the provider. aliases: its other names.

    by_litellm: LiteLLM writes its requests, for a dialect of its own or because they depend on the model.
    """

    name: str
    kind: ModelKind
    provider: str
    adapter: Adapter
    upstream_name: str
    aliases: tuple[str, ...] = ()
    by_litellm: bool = True

    @property
    def is_pattern(self) -> bool:
        """Whether its name is a pattern, ending in `*`, that stands for every model whose name begins so."""
        return self.name.endswith(ANY)

    @property
    def tenant_capable(self) -> bool:
        """Whether a tenant's own key may serve calls to it."""
        return self.adapter is Adapter.LITELLM


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    receipt: Receipt
    body: Json


@dataclass(frozen=True, slots=True)
class AnswerStream:
    """An answer in chunks. Iterating raises a ServiceError when the provider fails midway. Close it when done."""

    receipt: Receipt
    chunks: "Chunks"


class LanguageModels(Protocol):
    """Calls models on behalf of a tenant.

    Raises the errors of resolution, NotFoundError, InvalidRequestError and ProviderError.
    """

    def models(self) -> Sequence[Model]:
        """Return the models that applications may call."""
        ...

    def model(self, name: str) -> Model:
        """Return one model. Raises NotFoundError."""
        ...

    async def explain(self, tenant_id: str, model: str) -> Route:
        """Return the address and the credential that a call would use. Decrypts and sends nothing."""
        ...

    async def complete(
        self, tenant_id: str, model: str, params: Json, admission: CallAdmission | None = None
    ) -> Answer | AnswerStream:
        """Complete a chat. params: the members of the OpenAI request; `stream: true` makes the answer a stream.

        admission: of a caller with an access key.
        """
        ...

    async def embed(self, tenant_id: str, model: str, params: Json, admission: CallAdmission | None = None) -> Answer:
        """Compute embeddings. params: the members of the OpenAI request. admission: as in `complete`."""
        ...


def unknown_model(source: str) -> NotFoundError:
    """Return the error for a model that is not in the catalogue. source: where models come from."""
    return NotFoundError(
        ErrorCode.UNKNOWN_MODEL,
        f"This model is not in the catalogue. Models come from {source}; GET .../openai/v1/models lists them.",
    )
