"""The chunks of a chat completion as the events of a streamed message of Anthropic's API.

Promises: a block is open until another one begins, and the last one until the end; `message_stop` is sent only after a
whole answer, which the chunks' source has checked. A failure is raised where it happens.
Raises KeyError, TypeError or ValueError for chunks that cannot be a message.
Source: Anthropic's Messages API, version 2023-06-01 (streaming).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from keyledger.llm.messages.message_answer import (
    message_head,
    stop_reason,
    thinking_block,
    usage_of,
    with_text,
)

Event = dict[str, Any]
_EMPTY: Mapping[str, Event] = {"text": {"type": "text", "text": ""}, "thinking": thinking_block("")}
_DELTAS: Mapping[str, tuple[str, str]] = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}

_NOTHING: Mapping[str, Any] = {}


class MessageEvents:
    """The events of one answer. `feed` takes a chunk, `finish` the end."""

    def __init__(self) -> None:
        self._begun = False
        self._open: str | tuple[int, str] | None = None
        self._name = ""
        self._calls: set[tuple[int, str]] = set()
        self._blocks = 0
        self._reason: Any = None
        self._refused = False
        self._usage: Any = None

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of one chunk."""
        if not self._begun and chunk.get("choices"):  # what precedes them need not have an id (azure)
            self._begun = True
            empty: Event = {"content": [], "stop_reason": None, "stop_sequence": None}
            counts = usage_of(None)  # they come at the end
            yield {"type": "message_start", "message": {**message_head(chunk), **empty, "usage": counts}}
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) != 0:
                raise ValueError("a second choice")
            yield from self._said(choice.get("delta") or {})
            self._reason = choice.get("finish_reason") or self._reason

    def finish(self) -> Iterator[Event]:
        """Yield the events of the end."""
        if not self._begun:
            raise ValueError("no chunk")
        yield from self._closed()
        reason = "refusal" if self._refused else stop_reason(self._reason, called=bool(self._calls))
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": usage_of(self._usage)}
        yield {"type": "message_stop"}

    def _said(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield from self._text("thinking", thought)
        extras = with_text(delta)
        if (text := delta.get("content")) or extras:
            yield from self._text("text", text or "", extras)
        if refused := delta.get("refusal"):
            self._refused = True
            yield from self._text("text", refused)
        for call in delta.get("tool_calls") or ():
            yield from self._tool(call)

    def _text(self, kind: str, text: Any, extras: Mapping[str, Any] = _NOTHING) -> Iterator[Event]:
        if not isinstance(text, str):
            raise TypeError("not a text")
        if self._open != kind:
            yield from self._opened(kind, dict(_EMPTY[kind]))
        name, member = _DELTAS[kind]
        yield self._delta({"type": name, member: text, **extras})

    def _tool(self, call: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a part of a call. Calls with the same index (gemini) are told apart by their ids."""
        index, function = int(call.get("index", 0)), call.get("function") or {}
        call_id, name, given = call.get("id"), function.get("name"), function.get("arguments") or ""
        if not self._goes_on(index, call_id, name):
            if not isinstance(call_id, str) or not isinstance(name, str) or (index, call_id) in self._calls:
                raise ValueError("a part of a tool call that is not open")
            self._calls.add((index, call_id))
            self._name = name
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            yield from self._opened((index, call_id), block)
        if not isinstance(given, str):
            raise TypeError("arguments that are not a text")
        if given:
            yield self._delta({"type": "input_json_delta", "partial_json": given})

    def _goes_on(self, index: int, call_id: Any, name: Any) -> bool:
        """Say whether a part belongs to the call that is open. What it repeats has to be the same."""
        opened = self._open
        same = isinstance(opened, tuple) and opened[0] == index and (not call_id or call_id == opened[1])
        return same and (not name or name == self._name)

    def _opened(self, what: str | tuple[int, str], block: Event) -> Iterator[Event]:
        yield from self._closed()
        self._open = what
        yield {"type": "content_block_start", "index": self._blocks, "content_block": block}

    def _delta(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self._blocks, "delta": delta}

    def _closed(self) -> Iterator[Event]:
        if self._open is not None:
            yield {"type": "content_block_stop", "index": self._blocks}
            self._open = None
            self._blocks += 1
