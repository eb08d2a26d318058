"""Checks a provider's response and rewrites it before any library sees it.

Promises: the result is JSON written here, within the request's bounds. Log probabilities and vectors are set aside, so
that no library builds objects from them, and are put back unchanged into what the library returns.
Raises InvalidAnswerError. The functions for complete responses may run in any thread, and none of their steps takes
long.
"""

import base64
import binascii
import json
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keyledger.llm.answers.bounded_json import (
    NOT_USABLE,
    TOO_COMPLEX,
    InvalidAnswerError,
    read_object,
    refuse_constant,
    written,
    written_short,
)
from keyledger.llm.answers.bounds import CHAT_MAX, DELTA_MAX, PLAIN, TOOL_CALLS_MAX, UNUSUAL_MAX, Bounds
from keyledger.llm.answers.proportions import choices_of, is_usual_chat, is_usual_list
from keyledger.llm.answers.server_sent_events import DONE

_MEMBER = b'"embedding"'
_VECTOR = re.compile(rb'"embedding"\s*:\s*(?:\[([^\[\]{}"]{0,1000000})\]|"([A-Za-z0-9+/=]{0,1000000})")')
_OF_CHUNKS = ("system_fingerprint", "service_tier")
_FLOAT = 4  # bytes, as in OpenAI's base64


@dataclass(slots=True)
class SetAside:
    """The values set aside from one response, in the order of its choices or items.

    of_chunks: the latest `system_fingerprint` and `service_tier` of a stream, which libraries drop.
    """

    logprobs: list[Any] = field(default_factory=list)
    prompt_logprobs: Any = None
    vectors: list[Any] = field(default_factory=list)
    of_chunks: dict[str, str] = field(default_factory=dict)

    def put_back(self, content: dict[str, Any]) -> dict[str, Any]:
        """Put the values back into `content` and return it. Raises ValueError if the counts differ."""
        for name, member, values in (("choices", "logprobs", self.logprobs), ("data", "embedding", self.vectors)):
            if any(value is not None for value in values):
                for holder, value in zip(content[name], values, strict=True):
                    holder.update({} if value is None else {member: value})
        if self.prompt_logprobs is not None:
            content["prompt_logprobs"] = self.prompt_logprobs
        return content


def checked_chat(text: bytes, bounds: Bounds) -> tuple[bytes, SetAside]:
    """Check a complete response other than embeddings. Return it rewritten, and the values set aside."""
    content = read_object(text, bounds.json)
    choices = choices_of(content, bounds, TOOL_CALLS_MAX)
    set_aside = SetAside([_taken(choice, "logprobs") for choice in choices], _taken(content, "prompt_logprobs"))
    rest = written_short(content)
    if len(rest) > UNUSUAL_MAX and not is_usual_chat(content):
        raise InvalidAnswerError(TOO_COMPLEX)
    if bounds.json is not PLAIN:
        read_object(rest, PLAIN)  # the log probabilities are set aside; the rest must be as simple as any response
    return rest, set_aside


def checked_event(text: bytes, bounds: Bounds, set_aside: SetAside) -> bytes:
    """Check one event of a stream and return it rewritten. Adds what libraries drop to `set_aside`."""
    content = read_object(text, PLAIN)
    choices_of(content, bounds, DELTA_MAX)
    set_aside.of_chunks |= {name: said for name in _OF_CHUNKS if isinstance(said := content.get(name), str)}
    # LiteLLM takes [DONE] for the end of the stream, even inside a string, which is the only place where JSON has it.
    return written(content).replace(DONE, DONE.replace(b"]", rb"\u005d"))


def checked_embeddings(text: bytes, bounds: Bounds) -> tuple[bytes, SetAside]:
    """Check a response with embeddings. Return it rewritten without its vectors, and the vectors.

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
    set_aside = SetAside(vectors=[_of(item.get("embedding"), vectors) for item in items])
    content["data"] = [{**item, "embedding": []} for item in items]
    passed = written_short(content)
    if len(passed) > UNUSUAL_MAX and not is_usual_list(content):
        raise InvalidAnswerError(TOO_COMPLEX)
    return passed, set_aside


def _vectors(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the positions of vectors. Anything that is not a vector of a sane length is left in the rest."""
    at = text.find(_MEMBER)
    while at >= 0:
        found = _VECTOR.match(text, at)
        if found is not None:
            yield found
        at = text.find(_MEMBER, found.end() if found else at + len(_MEMBER))


def _taken(holder: dict[str, Any], member: str) -> Any:
    """Remove a member and return it, or None where it is missing or null."""
    return holder.pop(member) if holder.get(member) is not None else None


def _vector(found: re.Match[bytes], *, numbers: bool) -> Any:
    """Return one vector as numbers, or as base64 where it arrived so and was requested. Raises InvalidAnswerError."""
    try:
        if found[2] is not None:
            return _decoded(found[2]) if numbers else found[2].decode("ascii")
        values: list[Any] = json.loads(b"[%s]" % found[1], parse_constant=refuse_constant)
        if math.isfinite(math.fsum(values)) and not any(isinstance(value, bool) for value in values):
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
