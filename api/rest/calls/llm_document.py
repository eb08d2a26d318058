"""Documentation of the OpenAI-compatible calls: enough to see what a call looks like.

The bodies are specified by OpenAI, and the adapter decides which members it accepts, so the schemas here stay open.
"""

from typing import Any

from fastapi import Response

from api.rest.openapi import CALL, CATALOGUE, RECEIPT, answer, problems

_STRING = {"type": "string"}
_MODEL_VIEW = {"id": "gpt-4o", "object": "model", "created": 0, "owned_by": "openai"} | {
    "capabilities": {"input_modalities": ["text", "image"], "tools": True, "max_input_tokens": 128000}
}
_SWITCH, _COUNT = {"type": "boolean"}, {"type": "integer"}
_CAPABILITIES = {
    "type": "object",
    "description": "What the table of models that LiteLLM ships states; a member that it does not state is missing.",
    "properties": {
        "input_modalities": {"type": "array", "items": _STRING},
        **dict.fromkeys(("tools", "reasoning", "structured_output"), _SWITCH),
        **dict.fromkeys(("max_input_tokens", "max_output_tokens"), _COUNT),
    },
}
_MODEL_SCHEMA = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {"id": _STRING, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": _STRING}
    | {"capabilities": _CAPABILITIES},
}
_USAGE = {"prompt_tokens": 9, "total_tokens": 12}
_CHAT_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1769860800,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {**_USAGE, "completion_tokens": 3},
}
_EMBEDDINGS_ANSWER = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
    "usage": _USAGE,
}
_CHAT_EVENTS = 'data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'


def _request(required: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["model", *required],
        "properties": {"model": {"type": "string", "minLength": 1}, **required},
    }
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _operation(shown: dict[int | str, Any], **documented: Any) -> dict[str, Any]:
    return {"response_class": Response, "response_model": None, "responses": shown, **documented}


def _answer(example: dict[str, Any], schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    shown = answer(example, headers)
    shown["content"]["application/json"]["schema"] = schema
    return shown


_OBJECT = {"type": "object"}
_CHAT_200 = _answer(_CHAT_ANSWER, _OBJECT, dict(RECEIPT))
_CHAT_200["content"]["text/event-stream"] = {"schema": _STRING, "example": _CHAT_EVENTS}

CHAT = _operation(
    {200: _CHAT_200, **problems(*CALL)},
    openapi_extra=_request(
        {"messages": {"type": "array", "minItems": 1, "items": _OBJECT}},
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]},
    ),
)
EMBEDDINGS = _operation(
    {200: _answer(_EMBEDDINGS_ANSWER, _OBJECT, dict(RECEIPT)), **problems(*CALL)},
    openapi_extra=_request(
        {"input": {"anyOf": [_STRING, {"type": "array"}]}}, {"model": "text-embedding-3-small", "input": "Hello"}
    ),
)
MODELS = _operation(
    {
        200: _answer(
            {"object": "list", "data": [_MODEL_VIEW]},
            {
                "type": "object",
                "required": ["object", "data"],
                "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL_SCHEMA}},
            },
        ),
        **problems(*CATALOGUE),
    }
)
MODEL = _operation({200: _answer(_MODEL_VIEW, _MODEL_SCHEMA), **problems(*CATALOGUE)})
