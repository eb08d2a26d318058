"""Server-sent events as LLM providers use them: one JSON object in the `data` lines of each event.

Promises: yields the objects in order, whatever the sizes of the pieces they came in. Ends at `[DONE]` or at the end of
the answer. Raises ValueError for an event that is no JSON object, and for one that announces an error: OpenAI's have a
member `error`, Anthropic's are of type `error`.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

_DONE = b"[DONE]"


async def json_events(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of a stream."""
    data: list[bytes] = []
    async for line in _lines(pieces):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            text, data = b"\n".join(data), []
            if text == _DONE:
                return
            yield _content(text)
    if data and data != [_DONE]:
        yield _content(b"\n".join(data))


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield lines without their ends. Only line feeds end one: JSON may hold other separators as they are."""
    held = b""
    async for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if held:
        yield held.removesuffix(b"\r")


def _content(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError("an event that is no JSON object")
    if content.get("error") is not None or content.get("type") == "error":
        raise ValueError("an event that announces an error")
    return content
