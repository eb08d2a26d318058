"""The chunks of a streamed chat: what the provider said, to its proper end, or an error.

Promises: a stream is whole only if each of its choices has a reason for its end, and, where `[DONE]` does not mark the
end, if all choices that were asked for came; one that ended earlier raises InvalidAnswerError at its end.
Token counts that were asked for come last, in a chunk without choices, also where the provider sends them otherwise;
such a chunk comes only if it was asked for, and no count is made up.
Raises KeyError, TypeError or ValueError for a malformed event.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from domain.credentials.providers import Dialect
from keyledger.llm.answers.anthropic_stream import AnthropicStream
from keyledger.llm.answers.bounded_json import CUT_OFF, NOT_USABLE, InvalidAnswerError
from keyledger.llm.answers.openai_answers import openai_chunk
from keyledger.llm.requests.parameters import Request
from keyledger.llm.requests.prepared import Prepared

_BASE = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"})


async def chat_chunks(
    events: AsyncIterator[dict[str, Any]],
    dialect: Dialect,
    request: Request,
    prepared: Prepared,
    is_marked: Callable[[], bool],
    note: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a stream in OpenAI's form, until it is whole.

    events: as the provider sent them. dialect: its API. is_marked: whether `[DONE]` came, after the last of them.
    note: called with each of them.
    Raises InvalidAnswerError.
    """
    wanted = request.parameters.get("n", 1)
    ends, options = _Ends(wanted), request.parameters.get("stream_options") or {}
    counted, continuously = bool(options.get("include_usage")), bool(options.get("continuous_usage_stats"))
    anthropic = dialect is Dialect.ANTHROPIC
    translated = _from_anthropic(events, prepared, note) if anthropic else _from_openai(events, note)
    usage: dict[str, Any] | None = None
    async for chunk in translated:
        ends.note(chunk["choices"])
        if chunk.get("usage") is None or (continuously and chunk["choices"]):
            yield chunk
        elif not chunk["choices"]:
            usage = {**(usage or {}), **chunk}
            if not counted and not chunk.keys() <= _BASE:
                yield {name: value for name, value in chunk.items() if name != "usage"}
        else:
            usage = {**chunk, "choices": []}
            yield {**chunk, "usage": None} if counted else chunk
    if not ends.are_all(1 if anthropic or is_marked() else wanted):
        raise InvalidAnswerError(CUT_OFF)
    if counted and usage is not None:
        yield usage


async def _from_openai(
    events: AsyncIterator[dict[str, Any]], note: Callable[[Mapping[str, Any]], None]
) -> AsyncIterator[dict[str, Any]]:
    async for event in events:
        note(event)
        yield openai_chunk(event)


async def _from_anthropic(
    events: AsyncIterator[dict[str, Any]], prepared: Prepared, note: Callable[[Mapping[str, Any]], None]
) -> AsyncIterator[dict[str, Any]]:
    stream = AnthropicStream(prepared)
    async for event in events:
        note(event)
        for chunk in stream.chunks(event):
            yield chunk
    if (usage := stream.usage()) is not None:
        yield usage


class _Ends:
    """Which choices of a stream have ended."""

    def __init__(self, wanted: int) -> None:
        """wanted: the number of choices that were asked for."""
        self._wanted = wanted
        self._ended: dict[int, bool] = {}

    def note(self, choices: list[dict[str, Any]]) -> None:
        for choice in choices:
            index = choice.get("index", 0)
            if not isinstance(index, int) or not 0 <= index < self._wanted:
                raise InvalidAnswerError(NOT_USABLE)
            self._ended[index] = self._ended.get(index, False) or choice["finish_reason"] is not None

    def are_all(self, least: int) -> bool:
        """Return whether every choice has ended, and at least so many."""
        return len(self._ended) >= least and all(self._ended.values())
