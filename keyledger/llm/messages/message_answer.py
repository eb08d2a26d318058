"""A chat completion as a message of Anthropic's API.

Promises: text (`refusal` too), thoughts, tool calls, annotations, parts of another kind than text, the reason
for the end and the token counts arrive; counts that the provider did not send are null. An answer with something else
that a caller would miss, such as sound or images, is an error.
Raises KeyError, TypeError or ValueError for an answer that cannot be a message.
Source: Anthropic's Messages API, version 2023-06-01.
"""

from collections.abc import Mapping
from typing import Any

from keyledger.llm.answers.bounded_json import InvalidAnswerError, read_object
from keyledger.llm.answers.bounds import PLAIN

REASONS: Mapping[Any, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""Why an answer ended; a reason that is not here passes as it is."""
_WITH_TEXT = ("annotations", "content_parts")
"""What a text may come with: members of its block, because this API has nothing like them."""
_NO_PLACE = ("audio", "images", "function_call")
_CACHED = {"cached_tokens": "cache_read_input_tokens", "cache_creation_tokens": "cache_creation_input_tokens"}


def message_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a complete answer as a message."""
    (choice,) = answer["choices"]
    said = choice["message"]
    content: list[dict[str, Any]] = []
    if thought := said.get("reasoning_content") or said.get("reasoning"):
        content.append(thinking_block(_text(thought)))
    extras = with_text(said)
    if text := _text(said.get("content") or "") + _text(said.get("refusal") or ""):
        content.append({"type": "text", "text": text, **extras})
    elif extras:
        raise ValueError("no text for these")
    calls = [_tool_use(call) for call in said.get("tool_calls") or ()]
    reason = choice["finish_reason"]
    return {
        **message_head(answer),
        "content": [*content, *calls],
        "stop_reason": "refusal" if said.get("refusal") else stop_reason(reason, called=bool(calls)),
        "stop_sequence": None,
        "usage": usage_of(answer.get("usage")),
    }


def message_head(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message begins with."""
    return {"id": _text(answer["id"]), "type": "message", "role": "assistant", "model": _text(answer["model"])}


def thinking_block(text: str) -> dict[str, Any]:
    """Return a block of thought. Its signature is empty, because it is not Anthropic's."""
    return {"type": "thinking", "thinking": text, "signature": ""}


def with_text(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a text comes with. Raises ValueError for what a message has no place for."""
    if any(said.get(name) for name in _NO_PLACE):
        raise ValueError("more than a message can say")
    return {name: said[name] for name in _WITH_TEXT if said.get(name)}


def stop_reason(finish_reason: Any, *, called: bool) -> Any:
    """Return why the answer ended, in Anthropic's words. called: it has tool calls.

    After a call that `tool_choice` demanded, OpenAI's API says `stop`.
    """
    if finish_reason == "stop" and called:
        return "tool_use"
    return REASONS.get(finish_reason, finish_reason)


def usage_of(usage: Any) -> dict[str, Any]:
    """Return the token counts. What was read from a cache is not part of the input in Anthropic's words."""
    if not isinstance(usage, Mapping):
        return {"input_tokens": None, "output_tokens": None}
    details = usage.get("prompt_tokens_details")
    cached = {
        name: details[known]
        for known, name in _CACHED.items()
        if isinstance(details, Mapping) and isinstance(details.get(known), int)
    }
    read = usage.get("prompt_tokens")
    if isinstance(read, int):
        read = max(0, read - sum(cached.values()))
    return {"input_tokens": read, "output_tokens": usage.get("completion_tokens"), **cached}


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        given = read_object(_text(function["arguments"] or "{}").encode(), PLAIN)
    except InvalidAnswerError:
        raise ValueError("arguments that are not an object, or too much of one") from None
    return {"type": "tool_use", "id": _text(call["id"]), "name": _text(function["name"]), "input": given}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
