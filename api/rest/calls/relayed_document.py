"""Documentation of the relayed routes: one path for each, with bodies that OpenAI and the providers specify."""

from collections.abc import Mapping
from typing import Any

from api.front.paths import OPENAI, UUID_PATTERN
from api.rest.examples import TENANT
from api.rest.openapi import CALL, RECEIPT, problems
from domain.calls.openai_routes import ROUTES, OpenAIRoute

_TENANT: dict[str, Any] = {
    "name": "tenant_id",
    "in": "path",
    "required": True,
    "description": "UUID of the tenant, lower case with hyphens.",
    "schema": {"type": "string", "pattern": UUID_PATTERN},
    "example": TENANT,
}
_MODEL = {"type": "object", "required": ["model"], "properties": {"model": {"type": "string", "minLength": 1}}}
_DOCUMENTED: Mapping[str, tuple[str, str, dict[str, Any]]] = {
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


def relayed_operations() -> dict[str, Any]:
    """Return the path items of the relayed routes, by path."""
    return {f"{OPENAI}/{name}": {route.method.lower(): _operation(route)} for name, route in ROUTES.items()}


def _operation(route: OpenAIRoute) -> dict[str, Any]:
    operation_id, summary, members = _DOCUMENTED[route.name]
    content: dict[str, Any] = {"application/json": {"schema": _MODEL, "example": {"model": "gpt-4o", **members}}}
    if route.form:
        content["multipart/form-data"] = {"schema": _MODEL}
    return {
        "tags": ["relayed models"],
        "operationId": operation_id,
        "summary": summary,
        "description": _DESCRIPTION,
        "parameters": [_TENANT],
        "requestBody": {"required": True, "content": content},
        "responses": _answers(),
    }


def _answers() -> dict[str, Any]:
    """Return the provider's answers and our problems; any status of a problem may also be the provider's own."""
    shown = {"headers": dict(RECEIPT), "content": {"*/*": {"schema": {}, "example": {}}}}
    answers: dict[str, Any] = {
        "200": {"description": "The provider's answer.", **shown},
        "default": {"description": "The provider's answer.", "headers": dict(RECEIPT), "content": {"*/*": {}}},
    }
    for status, problem in problems(*CALL, "global-key-not-allowed", "malformed-header", "upgrade-refused").items():
        answers[str(status)] = {**problem, "content": {**problem["content"], "*/*": {}}}
    return answers
