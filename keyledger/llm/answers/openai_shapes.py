"""The format of responses to clients: OpenAI's JSON objects, whichever provider computed them.

Promises: `object` says what it is, and the model has the name that the caller used. Everything else is as it was.
Source: OpenAI's API reference for chat completions and embeddings.
"""

from typing import Any


def chat_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a complete chat response in OpenAI's format. model: the name that the caller used."""
    return {**body, "object": "chat.completion", "model": model}


def chunk_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a chunk of a chat response in OpenAI's format."""
    return {**body, "object": "chat.completion.chunk", "model": model}


def embeddings_shape(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return embeddings in OpenAI's format."""
    return {**body, "object": "list", "model": model}
