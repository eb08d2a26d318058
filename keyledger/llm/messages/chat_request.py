"""A request to Anthropic's Messages API as a chat completion, for providers of OpenAI's shape.

Promises: every member is translated, refused by name, or in `LEFT_OUT`, the short list of those that change nothing
about the answer. No text is added to a prompt.
Raises InvalidRequestError.
Source: Anthropic's Messages API, version 2023-06-01.
"""

from collections.abc import Callable, Mapping
from typing import Any

from domain.calls.models import Json
from domain.errors import InvalidRequestError
from domain.text.unknown_names import unknown_name
from keyledger.llm.messages.chat_messages import chat_messages, system_message
from keyledger.llm.messages.members import NO_COUNTERPART, invalid, members_of

LEFT_OUT: Mapping[str, str] = {
    "cache_control": "a provider caches prompts by rules of its own",
    "metadata": "names the caller's user to Anthropic",
    "service_tier": "is about Anthropic's capacity",
}
"""Members that are left out, with the reason for it."""

_SAME = ("max_tokens", "temperature", "top_p", "top_k")
_CHOICES: Mapping[Any, str] = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = ("low", "medium", "high", "xhigh")
_LOW_BUDGET, _MEDIUM_BUDGET = 4_096, 16_384
"""Tokens of thought from which a budget is a medium, and a high effort."""
_TOOL_MEMBERS = frozenset({"name", "description", "input_schema", "type", "strict"})
_TOOL_LEFT_OUT = frozenset({"cache_control", "eager_input_streaming"})


def chat_request_of(params: Json) -> dict[str, Any]:
    """Return the body of a chat completion, without its model."""
    chat: dict[str, Any] = {"messages": chat_messages(params.get("messages"))}
    for name, value in params.items():
        if value is None or name in LEFT_OUT or name in {"model", "messages"}:
            continue
        if name in _SAME:
            chat[name] = value
        elif (translate := _TRANSLATED.get(name)) is not None:
            translate(value, chat)
        else:
            known = {*_SAME, *_TRANSLATED, *LEFT_OUT, "model", "messages"}
            raise InvalidRequestError([unknown_name(name, "member", known, NO_COUNTERPART)])
    if "max_tokens" not in chat:
        raise invalid("max_tokens", "is required: the most tokens of the answer")
    return chat


def _system(value: Any, chat: dict[str, Any]) -> None:
    if value != []:
        chat["messages"] = [system_message(value), *chat["messages"]]


def _stream(value: Any, chat: dict[str, Any]) -> None:
    chat["stream"] = value
    if value is True:
        chat["stream_options"] = {"include_usage": True}


def _stop_sequences(value: Any, chat: dict[str, Any]) -> None:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid("stop_sequences", "must be a list of texts")
    if value:
        chat["stop"] = value


def _tools(value: Any, chat: dict[str, Any]) -> None:
    if not isinstance(value, list):
        raise invalid("tools", "must be a list of objects")
    if value:
        chat["tools"] = [_tool(tool) for tool in value]


def _tool(tool: Any) -> dict[str, Any]:
    if isinstance(tool, dict) and tool.get("type", "custom") != "custom":
        raise invalid("tools", "has a tool that Anthropic carries out, which this model's provider does not have")
    kept = members_of(tool, "tools", _TOOL_MEMBERS, _TOOL_LEFT_OUT)
    function: dict[str, Any] = {"name": kept.get("name"), "parameters": kept.get("input_schema")}
    if not isinstance(function["name"], str) or not isinstance(function["parameters"], dict):
        raise invalid("tools", "has a tool without a name or an input_schema")
    function |= {name: kept[name] for name in ("description", "strict") if name in kept}
    return {"type": "function", "function": function}


def _tool_choice(value: Any, chat: dict[str, Any]) -> None:
    kept = members_of(value, "tool_choice", frozenset({"type", "name", "disable_parallel_tool_use"}))
    kind = kept.get("type")
    if kind == "tool" and isinstance(kept.get("name"), str):
        chat["tool_choice"] = {"type": "function", "function": {"name": kept["name"]}}
    elif isinstance(kind, str) and kind in _CHOICES:
        chat["tool_choice"] = _CHOICES[kind]
    else:
        raise invalid("tool_choice", "must have a type, one of auto, any, none and tool; the last one with a name")
    one_at_a_time = kept.get("disable_parallel_tool_use", False)
    if not isinstance(one_at_a_time, bool):
        raise invalid("tool_choice", "has a disable_parallel_tool_use other than true and false")
    if one_at_a_time:
        chat["parallel_tool_calls"] = False


def _thinking(value: Any, chat: dict[str, Any]) -> None:
    """A budget becomes the effort that a provider of reasoning models knows; `adaptive` leaves it to the model."""
    kept = members_of(value, "thinking", frozenset({"type", "budget_tokens"}), frozenset({"display"}))
    kind, budget = kept.get("type"), kept.get("budget_tokens")
    if kind == "enabled" and isinstance(budget, int) and not isinstance(budget, bool):
        effort = "low" if budget < _LOW_BUDGET else "medium" if budget < _MEDIUM_BUDGET else "high"
        chat.setdefault("reasoning_effort", effort)
    elif kind not in ("adaptive", "disabled"):
        raise invalid("thinking", "must be of the type adaptive, disabled, or enabled with budget_tokens")


def _output_config(value: Any, chat: dict[str, Any]) -> None:
    kept = members_of(value, "output_config", frozenset({"effort", "format"}))
    if (effort := kept.get("effort")) is not None:
        if effort not in _EFFORTS:
            raise invalid("output_config", f"has an effort other than {', '.join(_EFFORTS)}")
        chat["reasoning_effort"] = effort
    if kept.get("format") is not None:
        _output_format(kept["format"], chat)


def _output_format(value: Any, chat: dict[str, Any]) -> None:
    kept = members_of(value, "output_format", frozenset({"type", "schema"}))
    if kept.get("type") != "json_schema" or not isinstance(kept.get("schema"), dict):
        raise invalid("output_format", "must be of the type json_schema, with a schema")
    if "response_format" in chat:
        raise invalid("output_format", "is given a second time, as output_config.format")
    schema = {"name": "answer", "schema": kept["schema"], "strict": True}
    chat["response_format"] = {"type": "json_schema", "json_schema": schema}


_TRANSLATED: Mapping[str, Callable[[Any, dict[str, Any]], None]] = {
    "system": _system,
    "stream": _stream,
    "stop_sequences": _stop_sequences,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "thinking": _thinking,
    "output_config": _output_config,
    "output_format": _output_format,
}
