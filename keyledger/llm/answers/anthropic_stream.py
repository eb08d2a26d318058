"""Streams of Anthropic's Messages API as the chunks of OpenAI's chat completions.

Promises: as for complete answers (`anthropic_answers`), piece by piece. A tool without arguments gets `{}`, which is
what clients parse. Events of kinds that are not known are passed over, as the API asks of its clients.
Raises KeyError, TypeError or ValueError for a malformed event.
Source: Anthropic's Messages API, version 2023-06-01, streaming.
"""

import time
from collections.abc import Iterator
from typing import Any

from keyledger.llm.answers.anthropic_answers import annotation, finished, is_call, tool_call
from keyledger.llm.answers.anthropic_usage import openai_usage
from keyledger.llm.requests.prepared import Prepared

Delta = dict[str, Any]


class AnthropicStream:
    """Translates the events of one stream."""

    def __init__(self, prepared: Prepared) -> None:
        """prepared: the request that the stream answers."""
        self._prepared = prepared
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._calls: list[str] = []
        self._block: dict[str, Any] = {}
        self._arguments = False
        self._start = self._length = 0

    def chunks(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the chunks that an event becomes."""
        kind = event["type"]
        if kind == "message_start":
            message = event["message"]
            self._head = {"id": message["id"], "created": int(time.time())}
            self._count(message.get("usage"))
            yield self._chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            yield from map(self._chunk, self._begun(event["content_block"]))
        elif kind == "content_block_delta":
            yield from map(self._chunk, self._added(event["delta"]))
        elif kind == "content_block_stop":
            yield from map(self._chunk, self._ended())
        elif kind == "message_delta":
            self._count(event.get("usage"))
            reason = finished(event["delta"].get("stop_reason"), self._calls, self._prepared)
            yield self._chunk({}, reason)

    def usage(self) -> dict[str, Any] | None:
        """Return the chunk with the token counts; None where the provider did not count."""
        usage = openai_usage(self._usage)
        return None if usage is None else {**self._head, "choices": [], "usage": usage}

    def _chunk(self, delta: Delta, reason: Any = None) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    def _count(self, usage: Any) -> None:
        """Later counts replace earlier ones: they are totals."""
        if isinstance(usage, dict):
            self._usage |= {name: count for name, count in usage.items() if count is not None}

    def _begun(self, block: dict[str, Any]) -> Iterator[Delta]:
        self._block, self._arguments, self._start = block, False, self._length
        if is_call(block, self._prepared):
            self._calls.append(block["id"])
            yield self._call(tool_call(block, "", self._prepared))
        elif block["type"] == "redacted_thinking":
            yield {"thinking_blocks": [block]}
        elif block["type"] == "text" and block["text"]:
            yield self._text(block["text"])

    def _added(self, delta: Delta) -> Iterator[Delta]:
        kind = delta["type"]
        if kind == "text_delta":
            yield self._text(delta["text"])
        elif kind == "input_json_delta" and self._block["type"] == "tool_use":
            self._arguments = self._arguments or bool(delta["partial_json"])
            if not is_call(self._block, self._prepared):
                yield self._text(delta["partial_json"])
            elif delta["partial_json"]:
                yield self._call({"function": {"arguments": delta["partial_json"]}})
        elif kind == "thinking_delta":
            thought = {"type": "thinking", "thinking": delta["thinking"]}
            yield {"reasoning_content": delta["thinking"], "thinking_blocks": [thought]}
        elif kind == "signature_delta":
            yield {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": delta["signature"]}]}
        elif kind == "citations_delta":
            cited = annotation(delta["citation"], self._start, self._length)
            if cited is not None:
                yield {"annotations": [cited]}

    def _ended(self) -> Iterator[Delta]:
        if self._block and is_call(self._block, self._prepared) and not self._arguments:
            yield self._call({"function": {"arguments": "{}"}})
        self._block = {}

    def _call(self, call: dict[str, Any]) -> Delta:
        return {"tool_calls": [{"index": len(self._calls) - 1, **call}]}

    def _text(self, text: str) -> Delta:
        self._length += len(text)
        return {"content": text}
