"""Reads JSON of unknown origin, within bounds that are checked before anything is built from it.

Promises: JSON with more values than allowed is refused after a few passes over its bytes; what is returned can be
written as JSON again: no NaN, no infinity, no nesting without measure. Raises InvalidAnswerError and nothing else.
"""

import json
import math
from typing import Any, NoReturn

from keyledger.llm.answers.bounds import DEPTH_MAX, JsonBounds

NOT_USABLE = "answer-not-usable"
TOO_COMPLEX = "answer-too-complex"
TOO_LARGE = "answer-too-large"


class InvalidAnswerError(Exception):
    """An answer is not passed on. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_object(text: bytes, most: JsonBounds) -> dict[str, Any]:
    """Return the object that `text` is. Raises InvalidAnswerError."""
    _count(text, most)
    fault = NOT_USABLE
    try:
        content = json.loads(text, parse_constant=refuse_constant)
        if isinstance(content, dict) and _is_plain(content):
            return content
    except RecursionError:
        fault = TOO_COMPLEX
    except ValueError:
        pass
    raise InvalidAnswerError(fault)


def written(content: dict[str, Any]) -> bytes:
    """Return the object as JSON again, in ASCII: some readers take other characters for the end of a line."""
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def written_short(content: dict[str, Any]) -> bytes:
    """Return the object as JSON again, in UTF-8 where its texts allow: that is shorter and read faster."""
    try:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return written(content)


def _count(text: bytes, most: JsonBounds) -> None:
    """Count what begins or parts values outside texts. Raises InvalidAnswerError when there is more than allowed.

    Each step is one pass in C, so that counting costs less than reading would, whatever the text.
    """
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text
    parts = unescaped.split(b'"', 4 * most.values)
    outside = b"".join(parts[::2])
    containers = outside.count(b"{") + outside.count(b"[")
    if len(parts) > 4 * most.values or containers > most.containers or outside.count(b",") > most.values:
        raise InvalidAnswerError(TOO_COMPLEX)


def _is_plain(content: dict[str, Any]) -> bool:
    """Say whether all numbers are finite. Raises InvalidAnswerError for what is nested too deep."""
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
    """Refuse NaN and infinities, which Python reads although JSON has none. Raises ValueError."""
    raise ValueError("no number of JSON")
