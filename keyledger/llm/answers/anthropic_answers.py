"""Answers of Anthropic's Messages API as OpenAI's chat completions.

Promises: text, tool calls, thinking, citations, the reason for the end and the token counts arrive as they were sent.
What a tool of the provider's own did is not made a tool call of the client's. Text is never added.
Raises KeyError, TypeError or ValueError for a malformed answer.
Source: Anthropic's Messages API, version 2023-06-01.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from keyledger.llm.answers.anthropic_usage import openai_usage
from keyledger.llm.answers.finish_reasons import ANTHROPIC, finish_reason
from keyledger.llm.requests.prepared import Prepared

_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def anthropic_answer(content: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """Return a complete answer. prepared: the request that it answers."""
    blocks = content["content"]
    if not isinstance(blocks, list):
        raise TypeError("content that is not a list")
    message: dict[str, Any] = {"role": "assistant", "content": _text(blocks, prepared)}
    calls = [tool_call(block, json.dumps(block["input"]), prepared) for block in blocks if is_call(block, prepared)]
    if calls:
        message["tool_calls"] = calls
    if thoughts := [block for block in blocks if block["type"] in _THOUGHTS]:
        message["reasoning_content"] = "".join(block.get("thinking") or "" for block in thoughts)
        message["thinking_blocks"] = thoughts
    if annotations := _annotations(blocks):
        message["annotations"] = annotations
    reason = finished(content["stop_reason"], len(calls), prepared)
    answer: dict[str, Any] = {
        "id": text_in(content, "id"),
        "created": int(time.time()),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }
    usage = openai_usage(content.get("usage"))
    return answer if usage is None else {**answer, "usage": usage}


def text_in(holder: dict[str, Any], name: str) -> str:
    """Return a member that is a text. Raises KeyError and TypeError."""
    value = holder[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value


def finished(stop_reason: Any, calls: int, prepared: Prepared) -> Any:
    """Return why the answer ended. calls: the number of tool calls in it. Raises InvalidAnswerError."""
    reason = finish_reason(stop_reason, ANTHROPIC)
    return "stop" if reason == "tool_calls" and prepared.json_tool and not calls else reason


def is_call(block: dict[str, Any], prepared: Prepared) -> bool:
    """Return whether a block is a call of one of the client's tools."""
    return bool(block["type"] == "tool_use" and block["name"] != prepared.json_tool)


def tool_call(block: dict[str, Any], arguments: str, prepared: Prepared) -> dict[str, Any]:
    """Return a block as a tool call, under the name by which the client knows the tool."""
    name = text_in(block, "name")
    function = {"name": prepared.tool_names.get(name, name), "arguments": arguments}
    return {"id": text_in(block, "id"), "type": "function", "function": function}


def annotation(citation: dict[str, Any], start: int, end: int) -> dict[str, Any] | None:
    """Return a citation as an annotation of the text from `start` to `end`; None for one without an address."""
    if not isinstance(citation.get("url"), str):
        return None
    cited = {"url": citation["url"], "title": citation.get("title") or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def _text(blocks: Sequence[dict[str, Any]], prepared: Prepared) -> str | None:
    texts = []
    for block in blocks:
        if block["type"] == "text":
            texts.append(text_in(block, "text"))
        elif block["type"] == "tool_use" and prepared.json_tool and not is_call(block, prepared):
            texts.append(json.dumps(block["input"]))
    return "".join(texts) if texts else None


def _annotations(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    annotations, at = [], 0
    for block in blocks:
        if block["type"] == "text":
            end = at + len(block["text"])
            annotations += [annotation(citation, at, end) for citation in block.get("citations") or []]
            at = end
    return [one for one in annotations if one is not None]
