"""Checks that a response is in proportion: not only small enough, but with as many parts as its request explains."""

from typing import Any

from keyledger.llm.answers.bounded_json import NOT_USABLE, TOO_COMPLEX, InvalidAnswerError, read_object, written
from keyledger.llm.answers.bounds import NAME_MAX, USAGE_MAX, Bounds, JsonBounds

_NAMES = ("id", "model", "object", "role", "type", "name", "finish_reason", "stop_reason", "system_fingerprint")


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


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_endless(holder: dict[str, Any]) -> bool:
    """Return whether a name or an id in `holder` is too long."""
    return any(len(value) > NAME_MAX for name in _NAMES if isinstance(value := holder.get(name), str))
