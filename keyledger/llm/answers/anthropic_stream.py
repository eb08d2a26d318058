"""Streams of Anthropic's Messages API as the chunks of OpenAI's chat completions.

Promises: as for complete answers (`anthropic_answers`), piece by piece, each block by its index. A tool without
arguments gets `{}`, which is what clients parse. Events and blocks of kinds that are not known are passed over, as the
API asks of its clients. What is kept is bounded: at most `BLOCKS_OPEN` blocks are open at a time.
Raises KeyError, TypeError or ValueError for a malformed event, and for an end while a block is open.
Source: Anthropic's Messages API, version 2023-06-01, streaming.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keyledger.llm.answers.anthropic_answers import annotation, finished, is_call, text_in, tool_call
from keyledger.llm.answers.anthropic_usage import COUNTS, openai_usage
from keyledger.llm.requests.prepared import Prepared

BLOCKS_OPEN = 64

Delta = dict[str, Any]


@dataclass(slots=True)
class _Block:
    """A block that is open. call: the index of its tool call, -1 if it has none. start: where its text begins."""

    kind: str
    call: int = -1
    json_tool: bool = False
    arguments: bool = False
    start: int = 0


class AnthropicStream:
    """Translates the events of one stream."""

    def __init__(self, prepared: Prepared) -> None:
        """prepared: the request that the stream answers."""
        self._prepared = prepared
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._open: dict[int, _Block] = {}
        self._calls = self._length = 0

    def chunks(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the chunks that an event becomes."""
        kind = event["type"]
        if kind == "message_start":
            message = event["message"]
            self._head = {"id": text_in(message, "id"), "created": int(time.time())}
            self._count(message.get("usage"))
            yield self._chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            yield from map(self._chunk, self._begun(event["index"], event["content_block"]))
        elif kind == "content_block_delta":
            yield from map(self._chunk, self._added(self._open[event["index"]], event["delta"]))
        elif kind == "content_block_stop":
            yield from map(self._chunk, self._ended(self._open.pop(event["index"])))
        elif kind == "message_delta":
            self._count(event.get("usage"))
            reason = finished(event["delta"].get("stop_reason"), self._calls, self._prepared)
            if reason is not None and self._open:
                raise ValueError("an end within a block")
            yield self._chunk({}, reason)

    def usage(self) -> dict[str, Any] | None:
        """Return the chunk with the token counts; None where the provider did not count."""
        usage = openai_usage(self._usage)
        return None if usage is None else {**self._head, "choices": [], "usage": usage}

    def _chunk(self, delta: Delta, reason: Any = None) -> dict[str, Any]:
        if not self._head:
            raise ValueError("a message that did not start")
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    def _count(self, usage: Any) -> None:
        """Later counts replace earlier ones: they are totals."""
        if isinstance(usage, dict):
            self._usage |= {name: usage[name] for name in COUNTS if usage.get(name) is not None}

    def _begun(self, index: Any, said: dict[str, Any]) -> Iterator[Delta]:
        if type(index) is not int or index in self._open or len(self._open) >= BLOCKS_OPEN:
            raise ValueError("a block out of place")
        block = self._open[index] = _Block(said["type"], start=self._length)
        if is_call(said, self._prepared):
            block.call = self._calls
            self._calls += 1
            yield _call(block, tool_call(said, "", self._prepared))
        block.json_tool = said["type"] == "tool_use" and block.call < 0
        yield from self._with_it(block, said)

    def _with_it(self, block: _Block, said: dict[str, Any]) -> Iterator[Delta]:
        """Yield what came with the beginning of a block; usually that is empty."""
        if block.kind == "tool_use" and said.get("input"):
            yield from self._argued(block, json.dumps(said["input"]))
        elif block.kind == "redacted_thinking":
            yield {"thinking_blocks": [said]}
        elif block.kind == "thinking":
            if said.get("thinking"):
                yield _thought(text_in(said, "thinking"))
            if said.get("signature"):
                yield _signed(text_in(said, "signature"))
        elif block.kind == "text":
            if said["text"]:
                yield self._text(text_in(said, "text"))
            for citation in said.get("citations") or []:
                yield from self._cited(block, citation)

    def _added(self, block: _Block, delta: Delta) -> Iterator[Delta]:
        kind = delta["type"]
        if kind == "text_delta":
            yield self._text(text_in(delta, "text"))
        elif kind == "input_json_delta" and block.kind == "tool_use":
            yield from self._argued(block, text_in(delta, "partial_json"))
        elif kind == "thinking_delta":
            yield _thought(text_in(delta, "thinking"))
        elif kind == "signature_delta":
            yield _signed(text_in(delta, "signature"))
        elif kind == "citations_delta":
            yield from self._cited(block, delta["citation"])

    def _argued(self, block: _Block, arguments: str) -> Iterator[Delta]:
        if not arguments:
            return
        block.arguments = True
        yield self._text(arguments) if block.json_tool else _call(block, {"function": {"arguments": arguments}})

    def _ended(self, block: _Block) -> Iterator[Delta]:
        if block.kind == "tool_use" and not block.arguments:
            yield from self._argued(block, "{}")

    def _cited(self, block: _Block, citation: dict[str, Any]) -> Iterator[Delta]:
        cited = annotation(citation, block.start, self._length)
        if cited is not None:
            yield {"annotations": [cited]}

    def _text(self, text: str) -> Delta:
        self._length += len(text)
        return {"content": text}


def _call(block: _Block, call: dict[str, Any]) -> Delta:
    return {"tool_calls": [{"index": block.call, **call}]}


def _thought(text: str) -> Delta:
    return {"reasoning_content": text, "thinking_blocks": [{"type": "thinking", "thinking": text}]}


def _signed(signature: str) -> Delta:
    return {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": signature}]}
