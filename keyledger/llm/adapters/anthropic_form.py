"""Brings a request into a form that can be translated for Anthropic without adding or losing anything.

Anthropic refuses empty texts, and libraries fill them with text of their own. Promises: an empty text next to tool
calls or other parts is left out, which says the same; a message that is nothing but an empty text is an
InvalidRequestError. Members that ask for nothing are left out, too. Images have the media types that the API knows.
Source: Anthropic's Messages API, version 2023-06-01.
"""

from typing import Any

from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.adapters.openai_body import with_system_role
from keyledger.llm.adapters.unasked import without_unasked
from keyledger.llm.requests.parameters import Request

_EMPTY = "is empty, which is not supported by anthropic"
_UNTYPED = "has an image without a media type; begin it with data:image/png;base64, or another type"
_MEDIA_TYPES = {"data:image/jpg;": "data:image/jpeg;"}


def for_anthropic(request: Request) -> Request:
    """Return a request that asks for the same. Raises InvalidRequestError."""
    asked = without_unasked(request)
    messages = [_message(number, message) for number, message in enumerate(asked.parameters["messages"], 1)]
    return Request({**asked.parameters, "messages": messages}, asked.extras, asked.streaming)


def _message(number: int, message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = [_part(number, part) for part in content if part.get("text") != ""]
    if not content and message["role"] not in {"system", "developer", "tool"}:
        if not message.get("tool_calls"):
            raise InvalidRequestError([InvalidField("messages", f"message {number} {_EMPTY}")])
        content = None
    return with_system_role({**message, "content": content})


def _part(number: int, part: dict[str, Any]) -> dict[str, Any]:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        return part
    if url.startswith("data:;"):
        raise InvalidRequestError([InvalidField("messages", f"message {number} {_UNTYPED}")])
    for wrong, right in _MEDIA_TYPES.items():
        if url[: len(wrong)].lower() == wrong:
            return {**part, "image_url": {**image, "url": right + url[len(wrong) :]}}
    return part
