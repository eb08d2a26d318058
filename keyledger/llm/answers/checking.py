"""Checks a provider's response and reads it.

Promises: what is returned was within the bounds of its request. Log probabilities and vectors, which may rightly be
large, are bounded by what was asked for, and everything else is as small and simple as any response.
Raises InvalidAnswerError. The functions for complete responses may run in any thread, and none of their steps takes
long.
"""

import base64
import binascii
import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from keyledger.llm.answers.bounded_json import (
    NOT_USABLE,
    TOO_COMPLEX,
    InvalidAnswerError,
    read_object,
    refuse_constant,
    written_short,
)
from keyledger.llm.answers.bounds import CHAT_MAX, DELTA_MAX, PLAIN, TOOL_CALLS_MAX, Bounds
from keyledger.llm.answers.proportions import choices_of
from keyledger.llm.answers.server_sent_events import ERROR, ServerSentEvent

_MEMBER = b'"embedding"'
_VECTOR = re.compile(rb'"embedding"\s*:\s*(?:\[([^\[\]{}"]{0,1000000})\]|"([A-Za-z0-9+/=]{0,1000000})")')
_FLOAT = 4  # bytes, as in OpenAI's base64


def checked_chat(text: bytes, bounds: Bounds) -> dict[str, Any]:
    """Return a complete response to a chat."""
    content = read_object(text, bounds.json)
    choices = choices_of(content, bounds, TOOL_CALLS_MAX)
    if bounds.json is not PLAIN:
        plain = [{name: value for name, value in choice.items() if name != "logprobs"} for choice in choices]
        rest = {**content, "choices": plain, "prompt_logprobs": None}
        read_object(written_short(rest), PLAIN)
    return content


def checked_event(event: ServerSentEvent, bounds: Bounds) -> dict[str, Any]:
    """Return what one event of a stream holds."""
    if event.name == ERROR:
        raise InvalidAnswerError(NOT_USABLE)
    content = read_object(event.data, PLAIN)
    groq = content.get("x_groq")
    if content.get("object") == "error" or (isinstance(groq, dict) and groq.get("error")):
        raise InvalidAnswerError(NOT_USABLE)
    choices_of(content, bounds, DELTA_MAX)
    return content


def checked_embeddings(text: bytes, bounds: Bounds) -> dict[str, Any]:
    """Return a response with embeddings.

    Vectors are cut out before the rest is parsed, and parsed one by one: parsing them in one step would block all other
    threads.
    """
    vectors: list[Any] = []
    rest, at = [], 0
    for found in _vectors(text):
        if len(vectors) >= bounds.items:
            raise InvalidAnswerError(TOO_COMPLEX)
        rest += [text[at : found.start()], b'"embedding":%d' % len(vectors)]
        at = found.end()
        vectors.append(_vector(found, numbers=bounds.numbers))
    rest.append(text[at:])
    if sum(map(len, rest)) > CHAT_MAX:
        raise InvalidAnswerError(TOO_COMPLEX)
    content = read_object(b"".join(rest), bounds.json)
    choices_of(content, bounds, TOOL_CALLS_MAX)
    items = content.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidAnswerError(NOT_USABLE)
    if len(items) > bounds.items:
        raise InvalidAnswerError(TOO_COMPLEX)
    if content.get("object") == "error" or sorted(_indexes(items)) != list(range(bounds.items)):
        raise InvalidAnswerError(NOT_USABLE)
    return {**content, "data": [{**item, "embedding": _of(item.get("embedding"), vectors)} for item in items]}


def _indexes(items: Sequence[dict[str, Any]]) -> list[int]:
    """Return the place of each vector; that in the list where the provider does not say."""
    said = [item.get("index", nth) for nth, item in enumerate(items)]
    return [index for index in said if isinstance(index, int)]


def _vectors(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the positions of vectors. Anything that is not a vector of a sane length is left in the rest."""
    at = text.find(_MEMBER)
    while at >= 0:
        found = _VECTOR.match(text, at)
        if found is not None:
            yield found
        at = text.find(_MEMBER, found.end() if found else at + len(_MEMBER))


def _vector(found: re.Match[bytes], *, numbers: bool) -> Any:
    """Return one vector as numbers, or as base64 where it arrived so and was requested. Raises InvalidAnswerError."""
    try:
        if found[2] is not None:
            return _decoded(found[2]) if numbers else found[2].decode("ascii")
        values: list[Any] = json.loads(b"[%s]" % found[1], parse_constant=refuse_constant)
        if values and math.isfinite(math.fsum(values)) and not any(isinstance(value, bool) for value in values):
            return values
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise InvalidAnswerError(NOT_USABLE)


def _decoded(text: bytes) -> list[float]:
    """Decode a vector from base64, which holds 32-bit floats. Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if not raw or len(raw) % _FLOAT:
        raise ValueError("not a vector in base64")
    values = array("f", raw)
    if not math.isfinite(math.fsum(values)):
        raise ValueError("not finite numbers")
    return values.tolist()


def _of(place: Any, vectors: list[Any]) -> Any:
    """Return the vector cut out at this place. Raises InvalidAnswerError if there was none."""
    if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(vectors):
        raise InvalidAnswerError(NOT_USABLE)
    return vectors[place]
