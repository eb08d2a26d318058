"""Answers of providers with OpenAI's chat API: passed on as they are, with the few rewrites that clients need.

Promises: members that the provider sent arrive, also those that this module does not know. Rewritten are the reason for
the end (`finish_reasons`), content in parts (Mistral), which becomes text, and the name `reasoning`, which many clients
know as `reasoning_content`; members that clients rely on are present, null where empty. Nothing is made up.
Raises KeyError, TypeError or ValueError for a malformed answer.
Source: OpenAI's API reference for chat completions.
"""

from typing import Any

from keyledger.llm.answers.bounded_json import NOT_USABLE, InvalidAnswerError
from keyledger.llm.answers.finish_reasons import OPENAI, finish_reason

_READ = frozenset({"text", "thinking"})
"""Parts of a content that become text; where there are others, all of them are in `content_parts`, too."""


def openai_answer(content: dict[str, Any]) -> dict[str, Any]:
    """Return a complete answer as its caller gets it."""
    if not content["choices"]:
        raise ValueError("an answer without a choice")
    choices = [
        {**choice, "message": _message({"content": None, **choice["message"]}), "finish_reason": _reason(choice)}
        for choice in content["choices"]
    ]
    return {**content, "choices": choices}


def openai_chunk(content: dict[str, Any]) -> dict[str, Any]:
    """Return one event of a stream as its caller gets it."""
    choices = [
        {**choice, "delta": _message(choice.get("delta") or {}), "finish_reason": _reason(choice)}
        for choice in content["choices"] or []
    ]
    return {**content, "choices": choices}


def _reason(choice: dict[str, Any]) -> Any:
    if choice.get("error") is not None:
        raise InvalidAnswerError(NOT_USABLE)
    return finish_reason(choice.get("finish_reason"), OPENAI)


def _message(said: dict[str, Any]) -> dict[str, Any]:
    """Return a message, or what a chunk adds to it."""
    message = said
    if isinstance(said.get("reasoning"), str) and said.get("reasoning_content") is None:
        message = {**message, "reasoning_content": said["reasoning"]}
    if isinstance(parts := said.get("content"), list):
        thought = "".join(_thought(part["thinking"]) for part in parts if part["type"] == "thinking")
        message = {**message, "content": "".join(part["text"] for part in parts if part["type"] == "text")}
        message |= {"reasoning_content": thought} if thought else {}
        if any(part["type"] not in _READ for part in parts):
            message["content_parts"] = parts
    return message


def _thought(said: Any) -> str:
    return said if isinstance(said, str) else "".join(one["text"] for one in said if "text" in one)
