"""Documentation of the providers' own APIs: one path, because the providers document the rest."""

from typing import Any

from api.front.paths import UUID_PATTERN
from api.rest.calls.native import METHODS
from api.rest.examples import TENANT
from api.rest.openapi import NATIVE_CALL, RECEIPT, problems

_STRING = {"type": "string"}
_SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_DESCRIPTION = (
    "The provider's own API with the tenant's key: chat, messages, embeddings, files, audio, batches; streams in both "
    "directions. A tenant without a credential is served inference only, with models of the catalogue. Nothing is "
    "translated. Status, headers and body are the provider's, except for 401, which is 424 `credential-rejected`, and "
    "redirects, which are 502. An answer without X-Credential-Source is not the provider's. A GET with a WebSocket "
    "handshake opens the provider's own, where it has one."
)
_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "tenant_id",
        "in": "path",
        "required": True,
        "description": "UUID of the tenant, lower case with hyphens.",
        "schema": {"type": "string", "pattern": UUID_PATTERN},
        "example": TENANT,
    },
    {
        "name": "provider",
        "in": "path",
        "required": True,
        "description": "Name of the provider.",
        "schema": {"type": "string"},
        "example": "openai",
    },
    {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "Path of the provider's API, with its slashes unescaped; a query is passed on too.",
        "schema": {"type": "string", "pattern": f"^{_SEGMENT}(/{_SEGMENT})*$"},
        "example": "v1/chat/completions",
    },
]
_BODY = {
    "description": "As the provider requires.",
    "content": {
        "application/json": {
            "schema": {},
            "example": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]},
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


def native_operations() -> dict[str, Any]:
    """Return the path item of the providers' own APIs."""
    return {method.lower(): _operation(method) for method in METHODS}


def _operation(method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": ["providers"],
        "operationId": f"native{method.capitalize()}",
        "summary": "Call a provider's own API",
        "description": _DESCRIPTION,
        "parameters": _PARAMETERS,
        "responses": _answers(),
    }
    return {**operation, "requestBody": _BODY} if method in _WITH_BODY else operation


def _answers() -> dict[str, Any]:
    """Return the provider's answers and our problems; any status of a problem may also be the provider's own."""
    answers: dict[str, Any] = {
        "200": {
            "description": "The provider's answer.",
            "headers": dict(RECEIPT),
            "content": {"*/*": {"schema": {}, "example": {"object": "list", "data": []}}},
        },
        "default": {"description": "The provider's answer.", "headers": dict(RECEIPT), "content": {"*/*": {}}},
    }
    for status, shown in problems(*NATIVE_CALL).items():
        answers[str(status)] = {**shown, "content": {**shown["content"], "*/*": {}}}
    return answers
