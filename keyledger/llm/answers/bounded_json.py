"""Reads JSON from an untrusted source, within bounds that are checked before any object is built.

Promises: JSON with more values than allowed is refused after a few passes over its bytes; the result can be written as
JSON again: no NaN, no infinity, no unbounded nesting. Raises InvalidAnswerError only.
Refuses: UTF-16 and UTF-32, which the standard forbids. Python's parser decodes both, so a key in them, which the
scrubber does not find, would leave as plain text; nor do the bounds count them.
Standard: RFC 8259, section 8.1 (UTF-8).
"""

import json
import math
from typing import Any, NoReturn

from keyledger.llm.answers.bounds import DEPTH_MAX, JsonBounds

CUT_OFF = "answer-cut-off"
NOT_USABLE = "answer-not-usable"
TOO_COMPLEX = "answer-too-complex"
TOO_LARGE = "answer-too-large"

_ENCODINGS = frozenset({"utf-8", "utf-8-sig"})


class InvalidAnswerError(Exception):
    """A response that is not passed on. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        """reason: such as `answer-too-large`."""
        super().__init__(reason)
        self.reason = reason


def read_object(text: bytes, most: JsonBounds) -> dict[str, Any]:
    """Parse `text`, which must be a JSON object. most: its bounds. Raises InvalidAnswerError."""
    _count(text, most)
    error = NOT_USABLE
    if json.detect_encoding(text) not in _ENCODINGS:
        raise InvalidAnswerError(error)
    try:
        content = json.loads(text, parse_constant=refuse_constant)
        if isinstance(content, dict) and _is_plain(content):
            return content
    except RecursionError:
        error = TOO_COMPLEX
    except ValueError:
        pass
    raise InvalidAnswerError(error)


def written(content: dict[str, Any]) -> bytes:
    """Return the object as JSON in ASCII: some parsers treat other characters as line ends."""
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def written_short(content: dict[str, Any]) -> bytes:
    """Return the object as JSON in UTF-8 where possible, which is shorter and faster to parse."""
    try:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return written(content)


def _count(text: bytes, most: JsonBounds) -> None:
    """Count brackets, braces and commas outside strings. Raises InvalidAnswerError where there are too many.

    Each step is one pass in C, so that counting is cheaper than parsing, whatever the text.
    """
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text
    parts = unescaped.split(b'"', 4 * most.values)
    outside = b"".join(parts[::2])
    containers = outside.count(b"{") + outside.count(b"[")
    if len(parts) > 4 * most.values or containers > most.containers or outside.count(b",") > most.values:
        raise InvalidAnswerError(TOO_COMPLEX)


def _is_plain(content: dict[str, Any]) -> bool:
    """Return whether all numbers are finite. Raises InvalidAnswerError for excessive nesting."""
    level: list[Any] = [content]
    for _ in range(DEPTH_MAX):
        deeper: list[Any] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, dict | list):
                    deeper.append(value)
                elif isinstance(value, float) and not math.isfinite(value):
                    return False
        if not deeper:
            return True
        level = deeper
    raise InvalidAnswerError(TOO_COMPLEX)


def refuse_constant(_name: str) -> NoReturn:
    """Refuse NaN and infinities, which Python accepts although they are not JSON. Raises ValueError."""
    raise ValueError("not a JSON number")
