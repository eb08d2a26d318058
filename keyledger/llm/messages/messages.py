"""Anthropic's Messages API: relayed to providers that have it, translated for all others.

Promises: a provider with this API gets the caller's body with its own name of the model, and its answer is passed on
unchanged; a stream of it that ends before `message_stop` raises an error there. A request has one model: `fallbacks`
and the like are refused, because access keys may be limited to models. For other providers the request becomes
a chat completion and its answer a message, with the same keys, checks and failures as every chat.
Refuses: by name, what chat completions have no counterpart for.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator

from api.front.json_structure import off_the_loop_if_long
from domain.calls.messages import COUNT_PATH, PATH, MessageCall
from domain.calls.models import Answer, AnswerStream, Chunks, Json, LanguageModels, ModelKind
from domain.calls.native import Body, NativeAnswer, NativeCall
from domain.calls.openai_routes import routes_of
from domain.credentials.providers import Dialect, Provider
from domain.errors import ProviderUnavailableError
from keyledger.llm.answers.bounded_json import NOT_USABLE
from keyledger.llm.answers.event_ends import EventEnds
from keyledger.llm.call_configuration import CallConfiguration, CurrentCallConfiguration
from keyledger.llm.messages.chat_request import chat_request_of
from keyledger.llm.messages.members import invalid
from keyledger.llm.messages.message_answer import message_of
from keyledger.llm.messages.message_events import Event, MessageEvents
from keyledger.llm.native.for_route import ForRoute, ModelOfBody
from keyledger.llm.native.one_model import require_one_model
from keyledger.llm.native.pass_through import PassThrough

_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)


class Messages:
    """The Messages API of one process. Implements `domain.calls.messages.MessagesApi`."""

    def __init__(self, configuration: CurrentCallConfiguration, models: LanguageModels, apis: PassThrough) -> None:
        """configuration: returns the one in force, for each new call. models: completes chats. apis: sends requests."""
        self._configuration = configuration
        self._models = models
        self._apis = apis

    async def create(self, call: MessageCall) -> Answer | AnswerStream | NativeAnswer:
        """Create a message."""
        configuration = self._configuration()
        provider = _provider_of(call, configuration)
        if provider.dialect is Dialect.ANTHROPIC:
            return await self._relayed(call, PATH, configuration)
        chat = await off_the_loop_if_long(call.params, lambda: chat_request_of(call.params))
        answer = await self._models.complete(call.tenant_id, call.model.name, chat, call.admission)
        if isinstance(answer, AnswerStream):
            return AnswerStream(answer.receipt, _Events(answer.chunks, provider.name))
        return Answer(answer.receipt, _message(answer.body, provider.name))

    async def count_tokens(self, call: MessageCall) -> NativeAnswer:
        """Count the tokens of a request."""
        configuration = self._configuration()
        provider = _provider_of(call, configuration)
        if provider.dialect is not Dialect.ANTHROPIC:
            raise invalid("model", f"is a model of {provider.name}, which counts no tokens in advance")
        return await self._relayed(call, COUNT_PATH, configuration)

    async def _relayed(self, call: MessageCall, path: str, configuration: CallConfiguration) -> NativeAnswer:
        messages = call.params.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise invalid("messages", "must be a list of at least one message, each an object")
        for member in call.params:
            require_one_model(member)

        async def named(name: str) -> tuple[bytes | Body, int | None]:
            renamed = {**call.params, "model": name}
            body = await off_the_loop_if_long(call.params, lambda: json.dumps(renamed).encode())
            return body, len(body)

        native = NativeCall(
            call.tenant_id,
            call.model.provider,
            "POST",
            path,
            headers=call.headers,
            admission=call.admission,
        )
        route = ForRoute(EventEnds(PATH), ModelOfBody(call.model, named), generates=path == PATH, members=call.params)
        return await self._apis.send(native, configuration, route)


def _provider_of(call: MessageCall, configuration: CallConfiguration) -> Provider:
    """Return the provider of a chat model. Raises InvalidRequestError for a model of another kind."""
    if call.model.kind is not ModelKind.COMPLETION:
        raise invalid("model", f"is for {call.model.kind.value}; call {routes_of(call.model.kind)}")
    return configuration.resolver.providers.named(call.model.provider)


def _message(answer: Json, provider: str) -> Json:
    """Return an answer as a message. Raises ProviderUnavailableError for one that cannot be one."""
    try:
        return message_of(answer)
    except _MALFORMED:
        pass
    raise ProviderUnavailableError(provider, NOT_USABLE)  # without the context, which quotes the answer


class _Events(AsyncIterator[Json]):
    """The events of a streamed message. Implements `domain.calls.models.Chunks`."""

    def __init__(self, chunks: Chunks, provider: str) -> None:
        self._chunks = chunks
        self._provider = provider
        self._events = MessageEvents()
        self._ready: deque[Event] = deque()
        self._ended = False

    async def __anext__(self) -> Json:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            chunk = await anext(self._chunks, None)
            self._ended = chunk is None
            self._take(self._events.finish() if chunk is None else self._events.feed(chunk))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the connection of an answer that is no longer needed."""
        self._ended = True
        self._ready.clear()
        await self._chunks.aclose()

    def _take(self, events: Iterator[Event]) -> None:
        failed = False
        try:
            self._ready.extend(events)
        except _MALFORMED:
            failed = self._ended = True
        if failed:
            raise ProviderUnavailableError(self._provider, NOT_USABLE)
