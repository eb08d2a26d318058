"""The form in which answers leave: OpenAI's JSON objects, whoever computed them.

Promises: the model is called what the caller called it; members that clients rely on are there, null where empty;
LiteLLM's own members are gone. Raises TypeError or KeyError for what is no such object.
"""

from typing import Any

_FOREIGN = frozenset({"provider_specific_fields", "citations", "stream", "caching_groups"})


def chat_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a whole chat answer as it leaves."""
    choices = []
    for choice in body["choices"]:
        message = {"content": None, **_own(choice["message"])}
        choices.append({"finish_reason": None, **_own(choice), "message": message})
    return {**_own(body), "object": "chat.completion", "model": model, "choices": choices}


def chunk_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a chunk of a chat answer as it leaves."""
    choices = [
        {"finish_reason": None, **_own(choice), "delta": _own(choice.get("delta") or {})}
        for choice in body.get("choices") or []
    ]
    return {**_own(body), "object": "chat.completion.chunk", "model": model, "choices": choices}


def embeddings_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return embeddings as they leave."""
    return {**_own(body), "object": "list", "model": model, "data": list(body["data"])}


def _own(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in _FOREIGN}
