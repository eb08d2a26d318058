"""The messages of Anthropic's Messages API as those of a chat completion.

Promises: text, images, tool calls and their results arrive in their order; a result follows the call that it answers.
Left out is what changes no answer: `cache_control`, the mark that a result is an error, which its text says as well,
and the thoughts of earlier turns, which providers of OpenAI's shape do not take back.
Refuses by name: blocks without a counterpart, and a last message of the assistant's, which would have to be continued.
Source: Anthropic's Messages API, version 2023-06-01.
"""

import json
from collections.abc import Sequence
from typing import Any

from keyledger.llm.messages.members import invalid, members_of

_HINTS = frozenset({"cache_control", "citations"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_NOT_THERE = "which this model's provider has no counterpart for"


def system_message(value: Any) -> dict[str, Any]:
    """Return the system prompt as a message. Raises InvalidRequestError."""
    return {"role": "system", "content": value if isinstance(value, str) else _texts(value, "system")}


def chat_messages(messages: Any) -> list[dict[str, Any]]:
    """Return the messages. Raises InvalidRequestError."""
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a list of at least one message")
    translated: list[dict[str, Any]] = []
    for nth, message in enumerate(messages, start=1):
        kept = members_of(message, "messages", frozenset({"role", "content"}))
        role, content = kept.get("role"), kept.get("content")
        if role not in ("user", "assistant"):  # it may be a list, which no set can hold
            raise invalid("messages", f"message {nth} must have the role user or assistant")
        if isinstance(content, str):
            translated.append({"role": role, "content": content})
        elif isinstance(content, list) and (content or role == "assistant"):
            translated += _of_user(content, nth) if role == "user" else _of_assistant(content, nth)
        else:
            raise invalid("messages", f"message {nth} must have content that is a text or a list of at least one block")
    if messages[-1]["role"] == "assistant":
        raise invalid("messages", "must end with a message of the user: this model cannot continue one of its own")
    return translated


def _of_user(blocks: Sequence[Any], nth: int) -> list[dict[str, Any]]:
    """Return the results of tools, each a message, then the rest as one message."""
    results, parts = [], []
    for block in blocks:
        kind = _kind_of(block, nth)
        if kind == "tool_result":
            results.append(_result(block, nth))
        elif kind == "text":
            parts.append(_text_part(block))
        elif kind == "image":
            parts.append(_image_part(block, nth))
        elif kind == "document":
            parts.append(_document_part(block, nth))
        else:
            raise _unknown(kind, nth)
    return [*results, *([{"role": "user", "content": parts}] if parts else [])]


def _of_assistant(blocks: Sequence[Any], nth: int) -> list[dict[str, Any]]:
    texts, calls = [], []
    for block in blocks:
        kind = _kind_of(block, nth)
        if kind == "text":
            texts.append(_text_part(block))
        elif kind == "tool_use":
            calls.append(_call(block, nth))
        elif kind not in _THOUGHTS:
            raise _unknown(kind, nth)
    message: dict[str, Any] = {"role": "assistant"}
    if texts:
        message["content"] = texts[0]["text"] if len(texts) == 1 else texts
    if calls:
        message["tool_calls"] = calls
    return [message] if len(message) > 1 else []


def _kind_of(block: Any, nth: int) -> Any:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        raise invalid("messages", f"message {nth} must have blocks that are objects with a type")
    return block["type"]


def _unknown(kind: str, nth: int) -> Exception:
    known = kind if kind.isidentifier() and len(kind) <= 40 else "of an unknown type"
    return invalid("messages", f"message {nth} has a block {known}, {_NOT_THERE}")


def _text_part(block: dict[str, Any]) -> dict[str, Any]:
    kept = members_of(block, "messages", frozenset({"type", "text"}), _HINTS)
    if not isinstance(kept.get("text"), str):
        raise invalid("messages", "has a block of type text without a text")
    return {"type": "text", "text": kept["text"]}


def _texts(value: Any, field: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or any(not isinstance(one, dict) or one.get("type") != "text" for one in value):
        raise invalid(field, "must be a text or a list of blocks of type text")
    return [_text_part(one) for one in value]


def _image_part(block: dict[str, Any], nth: int) -> dict[str, Any]:
    kept = members_of(block, "messages", frozenset({"type", "source"}), _HINTS)
    return {"type": "image_url", "image_url": {"url": _address(kept.get("source"), nth)}}


def _address(source: Any, nth: int) -> str:
    """Return the address of an image; for one that is in the request, a `data:` URL (RFC 2397)."""
    if isinstance(source, dict) and source.get("type") == "url" and isinstance(source.get("url"), str):
        return str(source["url"])
    if isinstance(source, dict) and source.get("type") == "base64":
        media_type, data = source.get("media_type"), source.get("data")
        if isinstance(media_type, str) and isinstance(data, str):
            return f"data:{media_type};base64,{data}"
    raise invalid("messages", f"message {nth} has an image whose source is neither a url nor base64 with media_type")


def _document_part(block: dict[str, Any], nth: int) -> dict[str, Any]:
    kept = members_of(block, "messages", frozenset({"type", "source"}), _HINTS)
    source = kept.get("source")
    if isinstance(source, dict) and source.get("type") == "text" and isinstance(source.get("data"), str):
        return {"type": "text", "text": source["data"]}
    raise invalid("messages", f"message {nth} has a document other than plain text, {_NOT_THERE}")


def _result(block: dict[str, Any], nth: int) -> dict[str, Any]:
    known = frozenset({"type", "tool_use_id", "content", "is_error"})
    kept = members_of(block, "messages", known, _HINTS)
    content = kept.get("content", "")
    if not isinstance(kept.get("tool_use_id"), str):
        raise invalid("messages", f"message {nth} has a tool_result without a tool_use_id")
    if not isinstance(content, str):
        content = _texts(content, f"messages, message {nth}, a tool_result") or ""
    return {"role": "tool", "tool_call_id": kept["tool_use_id"], "content": content}


def _call(block: dict[str, Any], nth: int) -> dict[str, Any]:
    kept = members_of(block, "messages", frozenset({"type", "id", "name", "input"}), frozenset({*_HINTS, "caller"}))
    name, call_id, given = kept.get("name"), kept.get("id"), kept.get("input", {})
    if not isinstance(name, str) or not isinstance(call_id, str) or not isinstance(given, dict):
        raise invalid("messages", f"message {nth} has a tool_use without an id, a name or an input")
    function = {"name": name, "arguments": json.dumps(given, ensure_ascii=False)}
    return {"id": call_id, "type": "function", "function": function}
