"""Models and providers whose answers a test sets, for tests of the HTTP interface alone."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from domain.calls.messages import MessageCall
from domain.calls.models import Adapter, Answer, AnswerStream, Json, Model, ModelKind, unknown_model
from domain.calls.native import NativeAnswer, NativeCall
from domain.calls.openai_routes import RelayedCall
from domain.calls.web_socket import Offer
from domain.credentials.admission import Admission
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.key_check import KeyVerdict
from domain.credentials.providers import CredentialConfig
from domain.credentials.resolution import Receipt, Route, Source
from domain.credentials.secret import Secret
from domain.errors import InvalidField, InvalidRequestError

OPENAI = BUILT_IN["openai"]
GPT = Model("gpt-4o", ModelKind.COMPLETION, "openai", Adapter.LITELLM, "gpt-4o")
EMBEDDER = Model("text-embedding-3-small", ModelKind.EMBEDDING, "openai", Adapter.LITELLM, "text-embedding-3-small")
TENANT_RECEIPT = Receipt(Source.TENANT, "openai", 3, "k0123456789")
GLOBAL_RECEIPT = Receipt(Source.GLOBAL, "openai")
CHAT_ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "choices": []}


async def admitted(admission: Admission | None) -> None:
    """Admit a call as the resolution of its key would."""
    if admission is not None:
        await admission.read()


class Chunks:
    """A stream of chunks that knows whether it was closed. An exception among the chunks is raised in its place."""

    def __init__(self, *items: Json | Exception) -> None:
        self._items = iter(items)
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[Json]:
        return self

    async def __anext__(self) -> Json:
        item = next(self._items, None)
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed += 1


@dataclass
class ScriptedModels:
    """A catalogue of two models whose answers a test sets. `calls`: tenant, model and params unchanged."""

    outcome: Callable[[], Answer | AnswerStream] = lambda: Answer(TENANT_RECEIPT, CHAT_ANSWER)
    route: Callable[[], Route] = lambda: Route(
        TENANT_RECEIPT, OPENAI, "https://api.openai.com/v1", False, None, None, None
    )
    calls: list[tuple[str, str, Json]] = field(default_factory=list)

    def models(self) -> Sequence[Model]:
        return [GPT, EMBEDDER]

    def model(self, name: str) -> Model:
        for model in self.models():
            if model.name == name:
                return model
        raise unknown_model("ai_models.yml")

    async def explain(self, tenant_id: str, model: str) -> Route:
        return self.route()

    async def complete(
        self, tenant_id: str, model: str, params: Json, admission: Admission | None = None
    ) -> Answer | AnswerStream:
        await admitted(admission)
        self.calls.append((tenant_id, model, params))
        messages = params.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise InvalidRequestError([InvalidField("messages", "must be a list of objects")])
        return self.outcome()

    async def embed(self, tenant_id: str, model: str, params: Json, admission: Admission | None = None) -> Answer:
        await admitted(admission)
        self.calls.append((tenant_id, model, params))
        if not isinstance(params.get("input"), str | list):
            raise InvalidRequestError([InvalidField("input", "must be a text or a list")])
        answer = self.outcome()
        assert isinstance(answer, Answer)
        return answer


@dataclass
class ScriptedMessages:
    """The Messages API, whose answers are those of the models, or `passed_on`."""

    models: ScriptedModels
    passed_on: NativeAnswer | None = None
    calls: list[MessageCall] = field(default_factory=list)

    async def create(self, call: MessageCall) -> Answer | AnswerStream | NativeAnswer:
        self.calls.append(call)
        answer = await self.models.complete(call.tenant_id, call.model.name, call.params, call.admission)
        return answer if self.passed_on is None else self.passed_on

    async def count_tokens(self, call: MessageCall) -> NativeAnswer:
        await admitted(call.admission)
        self.calls.append(call)
        assert self.passed_on is not None
        return self.passed_on


async def _read(body: bytes | AsyncIterable[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


class ScriptedPieces:
    """The pieces of an answer, one of which may be an exception that is raised in its place."""

    def __init__(self, *items: bytes | Exception) -> None:
        self._items = iter(items)
        self.dropped = 0

    async def next(self) -> bytes | None:
        item = next(self._items, None)
        if isinstance(item, Exception):
            raise item
        return item

    def drop(self) -> None:
        self.dropped += 1


@dataclass
class ScriptedApis:
    """Providers whose answers a test sets. `calls` has each call with its whole body."""

    outcome: Callable[[], NativeAnswer] = lambda: NativeAnswer(
        TENANT_RECEIPT, 200, [(b"content-type", b"application/json")], b"{}", None
    )
    calls: list[NativeCall] = field(default_factory=list)

    async def call(self, call: NativeCall) -> NativeAnswer:
        await admitted(call.admission)
        self.calls.append(replace(call, body=await _read(call.body)))
        return self.outcome()

    async def connect(self, call: NativeCall, offer: Offer) -> NativeAnswer:
        return await self.call(call)


@dataclass
class ScriptedRoutes:
    """Routes whose answers a test sets. A call's model is that of its JSON. `calls` has each with its whole body."""

    models: ScriptedModels
    outcome: Callable[[], NativeAnswer] = lambda: NativeAnswer(
        TENANT_RECEIPT, 200, [(b"content-type", b"application/json")], b"{}", None
    )
    calls: list[RelayedCall] = field(default_factory=list)

    async def call(self, call: RelayedCall) -> NativeAnswer:
        body = await _read(call.body)
        if call.route.names_model:
            model = self.models.model(json.loads(body)["model"])
            call.begin(model.provider, model)
        else:
            call.begin(call.provider or "openai", None)
        await admitted(call.admission)
        self.calls.append(replace(call, body=body))
        return self.outcome()


@dataclass
class ScriptedKeyChecks:
    """Providers that accept keys or raise an error that a test sets. asked: the masks of the keys."""

    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def require_accepted(self, tenant_id: str, provider: str, secret: Secret, config: CredentialConfig) -> None:
        self.asked.append(secret.masked())
        if self.error is not None:
            raise self.error

    async def check_stored(self, tenant_id: str, provider: str) -> KeyVerdict:
        if self.error is not None:
            raise self.error
        return KeyVerdict(3, accepted=True)
