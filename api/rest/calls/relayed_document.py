"""Documentation of the relayed routes: one operation for each, with bodies that OpenAI and the providers specify."""

from collections.abc import Mapping
from typing import Any

from api.front.paths import OPENAI, UUID_PATTERN
from api.rest.examples import TENANT
from api.rest.openapi import CALL, RECEIPT, problems
from domain.calls.openai_routes import ROUTES, OpenAIRoute
from domain.credentials.providers import NAME_PATTERN

_TENANT: dict[str, Any] = {
    "name": "tenant_id",
    "in": "path",
    "required": True,
    "description": "UUID of the tenant, lower case with hyphens.",
    "schema": {"type": "string", "pattern": UUID_PATTERN},
    "example": TENANT,
}
_MODEL = {"type": "object", "required": ["model"], "properties": {"model": {"type": "string", "minLength": 1}}}
_ID: dict[str, Any] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "As the provider named it.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,255}$"},
    "example": "resp_1",
}
_PROVIDER: dict[str, Any] = {
    "name": "provider",
    "in": "query",
    "required": True,
    "description": "Name of the provider, because no model names it.",
    "schema": {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
    "example": "openai",
}
_OPERATION_IDS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("GET", "responses/{id}"): ("getResponse", "Show a response"),
    ("DELETE", "responses/{id}"): ("deleteResponse", "Delete a response"),
    ("POST", "responses/{id}/cancel"): ("cancelResponse", "Cancel a response"),
    ("GET", "responses/{id}/input_items"): ("listInputItems", "List the input of a response"),
    ("GET", "files"): ("listFiles", "List files"),
    ("POST", "files"): ("createFile", "Upload a file"),
    ("GET", "files/{id}"): ("getFile", "Show a file"),
    ("DELETE", "files/{id}"): ("deleteFile", "Delete a file"),
    ("GET", "files/{id}/content"): ("downloadFile", "Download a file"),
    ("GET", "batches"): ("listBatches", "List batches"),
    ("POST", "batches"): ("createBatch", "Create a batch"),
    ("GET", "batches/{id}"): ("getBatch", "Show a batch"),
    ("POST", "batches/{id}/cancel"): ("cancelBatch", "Cancel a batch"),
}
"""Ids and summaries of the routes without a model."""
_CREATED: Mapping[str, dict[str, Any]] = {
    "files": {},
    "batches": {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"},
}
"""What routes without a model create; a file comes as multipart/form-data."""
_OF_MODELS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "responses": ("createResponse", "Create a response", {"input": "Hello"}),
    "responses/compact": ("compactResponse", "Compact a conversation", {"input": "Hello"}),
    "responses/input_tokens": ("countInputTokens", "Count input tokens", {"input": "Hello"}),
    "completions": ("createCompletion", "Complete a text", {"prompt": "Once"}),
    "moderations": ("createModeration", "Classify a text", {"input": "Hello"}),
    "images/generations": ("createImage", "Generate images", {"prompt": "A lighthouse"}),
    "images/edits": ("createImageEdit", "Edit images", {"prompt": "At night"}),
    "images/variations": ("createImageVariation", "Vary an image", {}),
    "audio/speech": ("createSpeech", "Speak a text", {"input": "Hello", "voice": "alloy"}),
    "audio/transcriptions": ("createTranscription", "Transcribe speech", {}),
    "audio/translations": ("createTranslation", "Translate speech", {}),
    "rerank": ("createRerank", "Rank documents", {"query": "Hello", "documents": ["Hi", "Bye"]}),
}
_DESCRIPTION = (
    "Relayed: the request goes to the provider of its model, under the provider's name of that model, with the "
    "tenant's key. Everything else of the request, and the answer, is between the client and the provider. A model of "
    "a provider without this route is 422."
)
_WITHOUT_MODEL = (
    "Relayed to the provider that the query names, with the tenant's key; never with the platform's. The request and "
    "the answer are between the client and the provider. A provider without this route is 422."
)


_ALSO = ("unknown-provider", "global-key-not-allowed", "malformed-header", "upgrade-refused")


def relayed_operations() -> dict[str, Any]:
    """Return the path items of the relayed routes, by path."""
    items: dict[str, Any] = {}
    for route in ROUTES:
        items.setdefault(f"{OPENAI}/{route.path}", {})[route.method.lower()] = _operation(route)
    return items


def _operation(route: OpenAIRoute) -> dict[str, Any]:
    parameters = [_TENANT, *([_ID] if "{id}" in route.path else []), *([] if route.names_model else [_PROVIDER])]
    shown = {"tags": ["relayed models"], "parameters": parameters, "responses": _answers()}
    if not route.names_model:
        operation_id, summary = _OPERATION_IDS[route.method, route.path]
        described = {"operationId": operation_id, "summary": summary, "description": _WITHOUT_MODEL, **shown}
        if route.method == "POST" and route.path in _CREATED:
            body = {"application/json": {"schema": {}, "example": _CREATED[route.path]}}
            described["requestBody"] = {"content": {**body, "multipart/form-data": {"schema": {}}}}
        return described
    operation_id, summary, members = _OF_MODELS[route.path]
    content: dict[str, Any] = {"application/json": {"schema": _MODEL, "example": {"model": "gpt-4o", **members}}}
    if route.form:
        content["multipart/form-data"] = {"schema": _MODEL}
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": _DESCRIPTION,
        "requestBody": {"required": True, "content": content},
        **shown,
    }


def _answers() -> dict[str, Any]:
    """Return the provider's answers and our problems; any status of a problem may also be the provider's own."""
    shown = {"headers": dict(RECEIPT), "content": {"*/*": {"schema": {}, "example": {}}}}
    answers: dict[str, Any] = {
        "200": {"description": "The provider's answer.", **shown},
        "default": {"description": "The provider's answer.", "headers": dict(RECEIPT), "content": {"*/*": {}}},
    }
    for status, problem in problems(
        *CALL, "unknown-provider", "global-key-not-allowed", "malformed-header", "upgrade-refused"
    ).items():
        answers[str(status)] = {**problem, "content": {**problem["content"], "*/*": {}}}
    return answers
