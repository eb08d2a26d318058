"""Documentation of the calls in the form of Anthropic's Messages API, which specifies the bodies."""

from typing import Any

from fastapi import Response

from api.rest.openapi import CALL, RECEIPT, answer, problems

_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_SCHEMA = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {"model": {"type": "string", "minLength": 1}, "messages": _MESSAGES},
}
_ASKED = {"model": "claude-sonnet-4-5", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 3},
}
_EVENTS = (
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Hi"}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def _operation(example: dict[str, Any], asked: dict[str, Any], events: str = "") -> dict[str, Any]:
    shown = answer(example, dict(RECEIPT))
    shown["content"]["application/json"]["schema"] = {"type": "object"}
    if events:
        shown["content"]["text/event-stream"] = {"schema": {"type": "string"}, "example": events}
    content = {"application/json": {"schema": _SCHEMA, "example": asked}}
    body = {"requestBody": {"required": True, "content": content}}
    responses = {200: shown, **problems(*CALL)}
    return {"response_class": Response, "response_model": None, "responses": responses, "openapi_extra": body}


MESSAGE = _operation(_MESSAGE, _ASKED, _EVENTS)
COUNT = _operation({"input_tokens": 9}, {name: value for name, value in _ASKED.items() if name != "max_tokens"})
