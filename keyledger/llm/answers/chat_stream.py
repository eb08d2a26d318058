"""The chunks of a streamed chat: what the provider said, to its proper end, or an error.

Promises: a stream is whole only if each of its choices has a reason for its end; one that the provider ended earlier,
with `[DONE]`, with an orderly end of the connection or with anything else, raises InvalidAnswerError at its end.
Token counts that were asked for come last, in a chunk without choices, also where the provider sends them otherwise;
such a chunk comes only if it was asked for, and no count is made up.
Raises KeyError, TypeError or ValueError for a malformed event.
"""

from collections.abc import AsyncIterator
from typing import Any

from domain.credentials.providers import Dialect
from keyledger.llm.answers.anthropic_stream import AnthropicStream
from keyledger.llm.answers.bounded_json import CUT_OFF, InvalidAnswerError
from keyledger.llm.answers.openai_answers import openai_chunk
from keyledger.llm.requests.parameters import Request
from keyledger.llm.requests.prepared import Prepared


async def chat_chunks(
    events: AsyncIterator[dict[str, Any]], dialect: Dialect, request: Request, prepared: Prepared
) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a stream in OpenAI's form, until it is whole.

    events: as the provider sent them. dialect: its API. Raises InvalidAnswerError.
    """
    ends, options = _Ends(), request.parameters.get("stream_options") or {}
    counted, continuously = bool(options.get("include_usage")), bool(options.get("continuous_usage_stats"))
    translated = _from_anthropic(events, prepared) if dialect is Dialect.ANTHROPIC else _from_openai(events)
    usage: dict[str, Any] | None = None
    async for chunk in translated:
        ends.note(chunk["choices"])
        if chunk.get("usage") is None or (continuously and chunk["choices"]):
            yield chunk
        elif not chunk["choices"]:
            usage = chunk
        else:
            usage = {**chunk, "choices": []}
            yield {**chunk, "usage": None} if counted else chunk
    if not ends.whole:
        raise InvalidAnswerError(CUT_OFF)
    if counted and usage is not None:
        yield usage


async def _from_openai(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async for event in events:
        yield openai_chunk(event)


async def _from_anthropic(events: AsyncIterator[dict[str, Any]], prepared: Prepared) -> AsyncIterator[dict[str, Any]]:
    stream = AnthropicStream(prepared)
    async for event in events:
        for chunk in stream.chunks(event):
            yield chunk
    if (usage := stream.usage()) is not None:
        yield usage


class _Ends:
    """Which choices of a stream have ended."""

    def __init__(self) -> None:
        self._ended: dict[Any, bool] = {}

    def note(self, choices: list[dict[str, Any]]) -> None:
        for choice in choices:
            index = choice.get("index", 0)
            self._ended[index] = self._ended.get(index, False) or choice["finish_reason"] is not None

    @property
    def whole(self) -> bool:
        return bool(self._ended) and all(self._ended.values())
