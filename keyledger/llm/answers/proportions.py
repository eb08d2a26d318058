"""Checks that a response is in proportion: not only small enough, but of a shape that libraries parse without
complaint.

The parts from which libraries build objects, member by member, have tighter limits than the rest. Where a library
complains, it searches and copies the whole response many times, so a large response must have exactly the usual shape.
"""

from typing import Any

from keyledger.llm.answers.bounded_json import NOT_USABLE, TOO_COMPLEX, InvalidAnswerError, read_object, written
from keyledger.llm.answers.bounds import NAME_MAX, USAGE_MAX, Bounds, JsonBounds

_NAMES = ("id", "model", "object", "role", "type", "name", "finish_reason", "stop_reason", "system_fingerprint")
_LIST = frozenset({"object", "data", "model", "usage", "id", "created"})
_ITEM = frozenset({"object", "index", "embedding"})
_AUDIO: dict[str, type] = {"id": str, "data": str, "transcript": str, "expires_at": int}
_FUNCTION: dict[str, type] = {"name": str, "arguments": str}
_BLOCKS: dict[str, dict[str, type]] = {
    "text": {"text": str},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
    "tool_use": {"id": str, "name": str, "input": dict},
}


def choices_of(content: dict[str, Any], bounds: Bounds, listed: int) -> list[dict[str, Any]]:
    """Return the choices of a response, an empty list where it has none.

    listed: the most items in all lists of its messages. Raises InvalidAnswerError for an error sent as a success, and
    for a response out of proportion.
    """
    choices = content.get("choices") or []
    if not _are_objects(choices) or content.get("error") is not None or content.get("type") == "error":
        raise InvalidAnswerError(NOT_USABLE)
    told = [choice.get(name) for choice in choices for name in ("message", "delta")]
    messages = [message for message in told if isinstance(message, dict)]
    lists = [content.get("content"), *(value for message in messages for value in message.values())]
    if (
        len(choices) > bounds.choices
        or sum(len(value) for value in lists if isinstance(value, list)) > listed
        or any(_is_endless(holder) for holder in (content, *choices, *messages))
    ):
        raise InvalidAnswerError(TOO_COMPLEX)
    usage = content.get("usage")
    if isinstance(usage, dict):
        read_object(written(usage), JsonBounds(USAGE_MAX, USAGE_MAX))
    return choices


def is_usual_chat(content: dict[str, Any]) -> bool:
    """Return whether a complete chat response has the form that OpenAI or Anthropic document."""
    if not _is_usage(content.get("usage")):
        return False
    if "choices" not in content:
        blocks = content.get("content")
        return isinstance(blocks, list) and bool(blocks) and all(map(_is_usual_block, blocks))
    choices = content["choices"]
    return bool(choices) and all(map(_is_usual_choice, choices))


def is_usual_list(content: dict[str, Any]) -> bool:
    """Return whether a list of embeddings, without its vectors, has the documented members only."""
    items = content["data"]
    return content.keys() <= _LIST and _is_usage(content.get("usage")) and all(item.keys() <= _ITEM for item in items)


def _is_usual_choice(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    if not isinstance(message, dict) or not _has(choice, {"index": int, "finish_reason": str}):
        return False
    calls = message.get("tool_calls") or []
    known = {"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "audio"}
    return (
        {name for name, value in message.items() if value is not None and value != []} <= known
        and _has(message, dict.fromkeys(known - {"tool_calls", "audio"}, str))
        and message.get("role") in {None, "assistant"}
        and (message.get("audio") is None or _is(message["audio"], _AUDIO))
        and isinstance(calls, list)
        and all(map(_is_usual_call, calls))
    )


def _is_usual_call(call: Any) -> bool:
    return _is(call, {"id": str, "type": str, "function": dict}) and _is(call["function"], _FUNCTION)


def _is_usual_block(block: Any) -> bool:
    return isinstance(block, dict) and any(block.get("type") == kind and _is(block, _BLOCKS[kind]) for kind in _BLOCKS)


def _is_usage(usage: Any) -> bool:
    """Return whether `usage` is missing or counts tokens."""
    if usage is None:
        return True
    counts = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")
    details = ("prompt_tokens_details", "completion_tokens_details")
    if not isinstance(usage, dict) or not _has(usage, {**dict.fromkeys(counts, int), **dict.fromkeys(details, dict)}):
        return False
    detailed = [value for name in details for value in (usage.get(name) or {}).values()]
    return all(value is None or isinstance(value, int) for value in detailed)


def _is(value: Any, kinds: dict[str, type]) -> bool:
    """Return whether `value` is an object with all these members, of these types."""
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())


def _has(holder: dict[str, Any], kinds: dict[str, type]) -> bool:
    """Return whether these members are of these types, or missing, or null."""
    return all(isinstance(holder[name], kind) for name, kind in kinds.items() if holder.get(name) is not None)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_endless(holder: dict[str, Any]) -> bool:
    """Return whether a name or an id in `holder` is too long."""
    return any(len(value) > NAME_MAX for name in _NAMES if isinstance(value := holder.get(name), str))
