"""The format of responses to clients: OpenAI's JSON objects, whichever provider computed them.

Promises: the model has the name that the caller used; members that clients rely on are present, null where empty;
LiteLLM's own members are removed. Raises TypeError or KeyError for a malformed response.
Source: OpenAI's API reference for chat completions and embeddings.
"""

from typing import Any

_FOREIGN = frozenset({"provider_specific_fields", "citations", "stream", "caching_groups"})


def chat_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a complete chat response in OpenAI's format. model: the name that the caller used."""
    choices = []
    for choice in body["choices"]:
        message = {"content": None, **_own(choice["message"])}
        choices.append({"finish_reason": None, **_own(choice), "message": message})
    return {**_own(body), "object": "chat.completion", "model": model, "choices": choices}


def chunk_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a chunk of a chat response in OpenAI's format."""
    choices = [
        {"finish_reason": None, **_own(choice), "delta": _own(choice.get("delta") or {})}
        for choice in body.get("choices") or []
    ]
    return {**_own(body), "object": "chat.completion.chunk", "model": model, "choices": choices}


def embeddings_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return embeddings in OpenAI's format."""
    return {**_own(body), "object": "list", "model": model, "data": list(body["data"])}


def _own(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in _FOREIGN}
