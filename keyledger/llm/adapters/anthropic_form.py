"""Brings a request into a form that can be translated for Anthropic without adding or losing anything.

Libraries fill empty texts with text of their own, drop parts that they do not know, and invent tools. Promises: what
cannot be said to Anthropic is an InvalidRequestError that names it, before anything is sent. An empty text next to tool
calls or other parts is left out, which says the same; so are members that ask for nothing. Images have the media types
that the API knows. Schemas whose references would grow without measure are refused.
Source: Anthropic's Messages API, version 2023-06-01.
"""

from typing import Any, NoReturn

from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.adapters.openai_body import named, require_one_limit, with_system_role
from keyledger.llm.adapters.schema_size import is_boundless
from keyledger.llm.adapters.unasked import without_unasked
from keyledger.llm.requests.parameters import Request

_BLANK = "is nothing but white space, which is not supported by anthropic"
_UNTYPED = "has an image without a media type; begin it with data:image/png;base64, or another type"
_MEDIA_TYPES = {"data:image/jpg;": "data:image/jpeg;"}
_TEXT = frozenset({"text"})
_PARTS = {"user": frozenset({"text", "image_url", "file"}), "tool": frozenset({"text", "image_url"})}
"""The types of parts that messages may have, by role; others have text only."""
_FORMATS = frozenset({"json_schema", "text"})
_CHOICES = ("auto", "none", "required")
_NOT_AT_THE_TOP = frozenset(
    {"anyOf", "oneOf", "allOf", "not", "if", "patternProperties", "minProperties", "maxProperties"}
)


def for_anthropic(request: Request) -> Request:
    """Return a request that asks for the same. Raises InvalidRequestError."""
    require_one_limit(request)
    asked = without_unasked(request)
    given = asked.parameters["messages"]
    if errors := named("anthropic", given):
        raise InvalidRequestError(errors)
    _require_tools(asked.parameters)
    _require_format(asked.parameters.get("response_format", {"type": "text"}))
    messages = [_message(number, message) for number, message in enumerate(given, 1)]
    return Request({**asked.parameters, "messages": messages}, asked.extras, asked.streaming)


def _require_tools(asked: dict[str, Any]) -> None:
    """Refuse tools that a library would invent or change. Raises InvalidRequestError."""
    if not asked.get("tools") and any(message.get("tool_calls") for message in asked["messages"]):
        _refuse("tools", "is required by anthropic where messages have tool_calls")
    for tool in asked.get("tools") or []:
        schema = tool.get("function", {}).get("parameters") or {}
        if not isinstance(schema, dict) or schema.get("type", "object") != "object" or schema.keys() & _NOT_AT_THE_TOP:
            _refuse("tools", "must have parameters that are an object with properties, for anthropic")
        if is_boundless(schema):
            _refuse("tools", "have a schema whose references are too large or never end")
    choice = asked.get("tool_choice", "auto")
    if choice not in _CHOICES if isinstance(choice, str) else choice.get("type") != "function":
        _refuse("tool_choice", f"must be one of {', '.join(_CHOICES)}, or name a function")


def _require_format(wanted: dict[str, Any]) -> None:
    if wanted["type"] not in _FORMATS:
        _refuse("response_format", "must be of type json_schema or text for anthropic")
    if is_boundless(wanted.get("json_schema")):
        _refuse("response_format", "has a schema whose references are too large or never end")


def _message(number: int, message: dict[str, Any]) -> dict[str, Any]:
    content, role = message.get("content"), message["role"]
    if isinstance(content, list):
        content = [_part(number, role, part) for part in content if part.get("text") != ""]
    if isinstance(content, str) and content and not content.strip():
        _refuse("messages", f"message {number} {_BLANK}")
    if any(call.get("type", "function") != "function" for call in message.get("tool_calls") or []):
        _refuse("messages", f"message {number} has a tool call that is not of a function, for anthropic")
    if not content and role in {"user", "assistant"}:
        if not message.get("tool_calls") and not message.get("function_call"):
            _refuse("messages", f"message {number} is empty, which is not supported by anthropic")
        content = None
    thoughts = message.get("thinking_blocks")
    with_thoughts = {"thinking_blocks": _joined(thoughts)} if isinstance(thoughts, list) else {}
    return with_system_role({**message, "content": content, **with_thoughts})


def _part(number: int, role: str, part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] not in _PARTS.get(role, _TEXT):
        _refuse("messages", f"message {number} has a part of a type that anthropic does not take for its role")
    if part["type"] == "text" and not part["text"].strip():
        _refuse("messages", f"message {number} has a part that {_BLANK}")
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        return part
    if url.startswith("data:;"):
        _refuse("messages", f"message {number} {_UNTYPED}")
    for wrong, right in _MEDIA_TYPES.items():
        if url[: len(wrong)].lower() == wrong:
            return {**part, "image_url": {**image, "url": right + url[len(wrong) :]}}
    return part


def _joined(thoughts: list[Any]) -> list[Any]:
    """Return thoughts as the API wants them back: a stream gives them in pieces, the signature last."""
    joined: list[Any] = []
    for thought in thoughts:
        before: Any = joined[-1] if joined else None
        if _is_open(before) and isinstance(thought, dict) and thought.get("type") == "thinking":
            text = f"{before.get('thinking') or ''}{thought.get('thinking') or ''}"
            joined[-1] = {**before, **thought, "thinking": text}
        else:
            joined.append(thought)
    return joined


def _is_open(thought: Any) -> bool:
    """Return whether a thought is a piece whose signature is still to come."""
    return isinstance(thought, dict) and thought.get("type") == "thinking" and not thought.get("signature")


def _refuse(field: str, rule: str) -> NoReturn:
    raise InvalidRequestError([InvalidField(field, rule)])
