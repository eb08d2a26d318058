"""Parses server-sent events as LLM providers use them: one JSON object in the `data` lines of each event.

Promises: yields the events in order, whatever the sizes of the pieces, and buffers one event at most. `json_events`
ends at `[DONE]` or at the end of the response. It raises ValueError for an event that is not a JSON object, and for one
that reports an error: a member `error` with OpenAI, the type `error` with Anthropic.
Standard: WHATWG HTML, section 9.2 (server-sent events); only the `data` field is read.
"""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError

DONE = b"[DONE]"


async def json_events(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of a stream."""
    async for text in event_texts(pieces):
        if text == DONE:
            return
        yield _content(text)


async def event_texts(pieces: AsyncIterator[bytes], most: int = sys.maxsize) -> AsyncIterator[bytes]:
    """Yield the data of each event that has any. most: the limit in bytes. Raises InvalidAnswerError above it."""
    data: list[bytes] = []
    size = 0
    async for line in _lines(pieces, most):
        size += len(line)
        if size > most:
            raise InvalidAnswerError(TOO_LARGE)
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line:
            text, data, size = b"\n".join(data), [], 0
            if text:
                yield text
    if any(data):
        yield b"\n".join(data)


async def _lines(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Yield lines without line ends. Only a line feed ends a line: JSON may contain other separators."""
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        *lines, rest = piece.split(b"\n")
        if lines:
            yield b"".join([*held, lines[0]]).removesuffix(b"\r")
            for line in lines[1:]:
                yield line.removesuffix(b"\r")
            held, size = [], 0
        held.append(rest)
        size += len(rest)
        if size > most:
            raise InvalidAnswerError(TOO_LARGE)
    if last := b"".join(held):
        yield last.removesuffix(b"\r")


def _content(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError("an event that is not a JSON object")
    if content.get("error") is not None or content.get("type") == "error":
        raise ValueError("an event that reports an error")
    return content
