"""Checks the parameters of a client's request.

Promises: a checked request is valid JSON, its parameters from the tables in `allowed_parameters` have the right type,
and it shares no object with the caller. Members in no table are extras, which LiteLLM never sees; what they may be is
for the provider's row to say, and for the rules of the global key. LiteLLM's own control parameters (api_key, api_base,
fallbacks, mock_response, ...) are refused, so no client can steer the adapter; so are other spellings of known names,
which some servers read as those, and names that are not plain (see `domain.text.unknown_names`), which may be a
misplaced secret and are not repeated.
Refuses: with InvalidRequestError, which names each field and its rule. A value is never repeated.
"""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from domain.calls.models import Json
from domain.errors import FIELDS_MAX, InvalidField, InvalidRequestError
from domain.text.unknown_names import is_plain_name, unknown_name
from keyledger.llm.requests.allowed_parameters import (
    CHAT,
    CHAT_EXTRAS,
    EMBEDDING_EXTRAS,
    EMBEDDINGS,
    REFUSED,
    Rule,
    is_objects,
    is_whole,
)

MESSAGES_MAX = 2048
INPUTS_MAX = 2048
"""Both as OpenAI has them; what libraries do with a request takes time for each message and input."""
_INTEGER_BITS = 64
_OTHERS = ("model", "messages", "input", "stream")
"""Members other than parameters."""

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_ACCEPTED = "accepted are OpenAI's parameters, and members of the provider's own with plain names"


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request.

    parameters: OpenAI's own, without model and stream. extras: members that go to the provider
    unchanged. streaming: the response is wanted in chunks.
    """

    parameters: dict[str, Any]
    extras: dict[str, Any]
    streaming: bool = False


def chat_request(params: Json) -> Request:
    """Check a chat request. Raises InvalidRequestError with every invalid field."""
    if isinstance(messages := params.get("messages"), list) and len(messages) > MESSAGES_MAX:
        raise InvalidRequestError(_count_errors(messages))  # before any of them is copied
    body = _sendable(params)
    errors = _messages_errors(body.get("messages"))
    stream = body.pop("stream", False)
    if not isinstance(stream, bool):
        errors.append(InvalidField("stream", "must be true or false"))
    messages = {"messages": body.pop("messages", None)}
    known, extras = _sorted(body, CHAT, CHAT_EXTRAS, errors)
    return Request({**messages, **known}, extras, stream is True)


def embeddings_request(params: Json) -> Request:
    """Check an embeddings request. Raises InvalidRequestError with every invalid field."""
    body = _sendable(params)
    given = body.pop("input", None)
    errors = [] if _is_input(given) else [InvalidField("input", "must be a text, a list of texts, or token numbers")]
    known, extras = _sorted(body, EMBEDDINGS, EMBEDDING_EXTRAS, errors)
    return Request({"input": given, **known}, extras)


def _sendable(params: Json) -> dict[str, Any]:
    """Return a deep copy without nulls and without the model, which is a separate argument."""
    if not isinstance(params, dict):
        raise InvalidRequestError([InvalidField("the body", "must be an object")])
    try:
        return {name: _copied(value) for name, value in params.items() if value is not None and name != "model"}
    except (TypeError, ValueError, RecursionError):
        rule = "must be JSON: finite numbers, whole Unicode characters, not nested without measure"
        raise InvalidRequestError([InvalidField("the body", rule)]) from None


def _copied(value: Any) -> Any:
    """Return a deep copy of JSON. Value by value, because the json module would stop all other threads meanwhile.

    Raises TypeError, ValueError and RecursionError.
    """
    if isinstance(value, str):
        value.encode()
        return str.__str__(value)
    if value is None or (isinstance(value, int) and value.bit_length() <= _INTEGER_BITS):
        return value
    if isinstance(value, dict):
        return {_copied_name(name): _copied(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise TypeError("not JSON")


def _copied_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError("not a name")
    name.encode()
    return str.__str__(name)


def _sorted(
    body: dict[str, Any], known: Mapping[str, Rule], extras: Mapping[str, Rule], errors: list[InvalidField]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return OpenAI's parameters and the extras, separately.

    Raises InvalidRequestError with `errors` and those found here.
    """
    for name, value in body.items():
        if len(errors) >= FIELDS_MAX:
            break
        rule = known.get(name) or extras.get(name)
        if rule is None and not _is_of_the_provider(name, {*known, *extras, *_OTHERS}):
            errors.append(unknown_name(name, "member", {*known, *extras, *_OTHERS}, _ACCEPTED))
        elif rule is not None and not rule[0](value):
            errors.append(InvalidField(name, rule[1]))
    if errors:
        raise InvalidRequestError(errors)
    return ({n: v for n, v in body.items() if n in known}, {n: v for n, v in body.items() if n not in known})


def _is_of_the_provider(name: str, known: Set[str]) -> bool:
    """Return whether a member that no table has may be one of the provider's own."""
    spelt = name.lower()
    return is_plain_name(name) and spelt not in known and spelt not in REFUSED


def _count_errors(messages: Any) -> list[InvalidField]:
    ok = isinstance(messages, list) and 0 < len(messages) <= MESSAGES_MAX
    return [] if ok else [InvalidField("messages", f"must be a list of 1 to {MESSAGES_MAX} messages")]


def _messages_errors(messages: Any) -> list[InvalidField]:
    if errors := _count_errors(messages):
        return errors
    for index, message in enumerate(messages):
        if rule := _message_error(message):
            return [InvalidField("messages", f"message {index + 1} {rule}")]
    return []


def _message_error(message: Any) -> str | None:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        return f"must be an object with a role, one of {', '.join(sorted(_ROLES))}"
    if message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
        return "is a tool's and must have a tool_call_id"
    return _content_error(message.get("content"), message["role"]) or _tool_calls_error(message.get("tool_calls"))


def _content_error(content: Any, role: str) -> str | None:
    if content is None:
        return None if role == "assistant" else "must have content"
    if isinstance(content, str):
        return None
    if not is_objects(content) or not all(isinstance(part.get("type"), str) for part in content):
        return "must have content that is a text or a list of objects with a type"
    if not all(isinstance(part.get("text"), str) for part in content if part["type"] == "text"):
        return "has a content part of type text without a text"
    return None


def _tool_calls_error(calls: Any) -> str | None:
    if calls is None:
        return None
    if not is_objects(calls):
        return "has tool_calls that are not a list of objects"
    for call in calls:
        function = call.get("function", {})
        named = isinstance(function, dict) and all(isinstance(function.get(n, ""), str) for n in ("name", "arguments"))
        if not isinstance(call.get("id"), str) or not named:
            return "has tool_calls without an id, or without a function with name and arguments as texts"
    return None


def _is_input(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    if not isinstance(value, list) or not 0 < len(value) <= INPUTS_MAX:
        return False
    if all(is_whole(item) for item in value):
        return True
    return all(isinstance(item, str) for item in value) or all(
        isinstance(item, list) and item and all(is_whole(token) for token in item) for item in value
    )
