"""Writes OpenAI's chat as a request of Anthropic's Messages API, for calls that do not go through LiteLLM.

Covers text, images, thinking, tools and tool results, and the common parameters. Promises: a parameter without a
counterpart is refused with InvalidRequestError before anything is sent; nothing is dropped silently.
Source: Anthropic's Messages API, version 2023-06-01.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.requests.parameters import Request

MAX_TOKENS = 4096
"""The limit that Anthropic requires, where the caller sets none."""

_DATA_URL = re.compile(r"data:(image/[a-z+.-]+);base64,(.+)", re.DOTALL)
_RENAMED = {"max_completion_tokens": "max_tokens", "max_tokens": "max_tokens", "temperature": "temperature"}
_KEPT = {"top_p": "top_p", "top_k": "top_k", "thinking": "thinking", **_RENAMED}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def to_anthropic(request: Request, model: str) -> dict[str, Any]:
    """Return the body of a Messages call. model: the provider's name for it. Raises InvalidRequestError."""
    body: dict[str, Any] = {"model": model, "max_tokens": MAX_TOKENS, "stream": request.streaming}
    for name, value in {**request.parameters, **request.extras}.items():
        if name in _KEPT:
            body[_KEPT[name]] = value
        elif name in _TRANSLATED:
            body.update(_TRANSLATED[name](value))
        else:
            raise _refused(name, "is not supported by anthropic")
    if request.parameters.get("parallel_tool_calls") is False:
        body["tool_choice"] = {"type": "auto", **body.get("tool_choice", {}), "disable_parallel_tool_use": True}
    return body


def _messages(messages: list[dict[str, Any]]) -> dict[str, Any]:
    system = [_text(m["content"]) for m in messages if m["role"] in {"system", "developer"}]
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in {"system", "developer"}:
            continue
        if message["role"] == "function":
            raise _refused("messages", "with the role function are not supported by anthropic; use tool")
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks  # Anthropic requires alternating turns
        else:
            turns.append({"role": role, "content": blocks})
    return {"messages": turns, **({"system": "\n\n".join(system)} if system else {})}


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": _text(message["content"])}]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    thoughts = message.get("thinking_blocks") or []  # the API wants them back, first in their turn
    blocks = [_block(part) for part in parts if part.get("text") != ""]
    return [*thoughts, *blocks] + [_tool_use(call) for call in message.get("tool_calls") or []]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    url = part["image_url"].get("url") if isinstance(part.get("image_url"), dict) else None
    if part["type"] != "image_url" or not isinstance(url, str):
        raise _refused("messages", "have content of a kind that is not supported by anthropic")
    if found := _DATA_URL.fullmatch(url):
        return {"type": "image", "source": {"type": "base64", "media_type": found[1], "data": found[2]}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _tool_use(call: dict[str, Any]) -> dict[str, Any]:
    try:
        given = json.loads(call["function"]["arguments"] or "{}")
        return {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given}
    except (ValueError, KeyError):
        raise _refused("messages", "have tool_calls without a name or without arguments in JSON") from None


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        raise _refused("messages", "of this role take text only with anthropic")
    return "".join(part["text"] for part in content)


def _tools(tools: list[dict[str, Any]]) -> dict[str, Any]:
    if any(tool["type"] != "function" for tool in tools):
        raise _refused("tools", "of other types than function are not supported by anthropic")
    functions = [tool["function"] for tool in tools]
    return {"tools": [_tool(function) for function in functions]}


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    described = {"description": function["description"]} if "description" in function else {}
    return {"name": function["name"], "input_schema": schema, **described}


def _tool_choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict):
        function = choice.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _refused("tool_choice", "must name a function")
        return {"tool_choice": {"type": "tool", "name": function["name"]}}
    if choice not in _CHOICES:
        raise _refused("tool_choice", f"must be one of {', '.join(_CHOICES)}, or name a function")
    return {"tool_choice": {"type": _CHOICES[choice]}}


_TRANSLATED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "messages": _messages,
    "parallel_tool_calls": lambda wanted: {},
    "stop": lambda stop: {"stop_sequences": [stop] if isinstance(stop, str) else stop},
    "stream_options": lambda options: {},
    "tool_choice": _tool_choice,
    "tools": _tools,
    "user": lambda user: {"metadata": {"user_id": user}},
}


def _refused(field: str, rule: str) -> InvalidRequestError:
    return InvalidRequestError([InvalidField(field, rule)])
