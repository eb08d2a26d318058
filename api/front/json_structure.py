"""How much structure JSON has: bounds that are checked before a text is parsed, and whether a value is long.

Parsing takes as long as there are values, not bytes: a few megabytes of empty objects take seconds and a hundred times
their size in memory, a photograph in base64 takes neither. Promises: the text is read in pieces, none of which takes
long, and no object is built. The counts are exact up to the first error of syntax, where parsing ends anyway.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from domain.errors import InvalidField, InvalidRequestError

T = TypeVar("T")

CONTAINERS_MAX = 50_000
"""Objects and arrays: as many messages as a chat may have, each of twenty parts."""
VALUES_MAX = 500_000
"""Commas outside texts: more tokens than any provider takes in one request."""
_PIECE = 64 * 1024
_COUNTS_FOR_NOTHING = bytes(set(range(256)) - set(b'{[,"'))
_SHORT = 2000
"""Values that are looked through in a millisecond or two."""


def is_long(value: Mapping[str, object]) -> bool:
    """Say whether going through an object would hold up the event loop."""
    left, containers = _SHORT, list[Any]([value])
    while containers:
        container = containers.pop()
        left -= len(container)
        if left < 0:
            return True
        values = container.values() if isinstance(container, dict) else container
        containers += [one for one in values if isinstance(one, dict | list)]
    return False


async def off_the_loop_if_long(value: Mapping[str, object], compute: Callable[[], T]) -> T:
    """Return what `compute` makes of an object, computed in a thread if the object is long. Raises as `compute`."""
    return await asyncio.to_thread(compute) if is_long(value) else compute()


def check_structure(text: bytes) -> None:
    """Raise InvalidRequestError for a text with too many containers or values."""
    containers = values = at = 0
    inside = False  # a string
    while at < len(text):
        end = _end_of_piece(text, at)
        piece = text[at:end]
        at = end
        if b"\\" in piece:
            piece = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        # Two quotes with nothing that counts between them end and begin the same thing, a string or what is outside.
        parts = piece.translate(None, _COUNTS_FOR_NOTHING).replace(b'""', b"").split(b'"')
        outside = b"".join(parts[inside::2])
        inside ^= len(parts) % 2 == 0
        containers += outside.count(b"{") + outside.count(b"[")
        values += outside.count(b",")
        if containers > CONTAINERS_MAX:
            raise _too_many(f"{CONTAINERS_MAX} objects and lists")
        if values > VALUES_MAX:
            raise _too_many(f"{VALUES_MAX} values")


def _end_of_piece(text: bytes, begin: int) -> int:
    """Return where a piece ends that does not part a backslash from what it escapes."""
    end = min(begin + _PIECE, len(text))
    backslashes = end - begin - len(text[begin:end].rstrip(b"\\"))
    return min(end + backslashes % 2, len(text))


def _too_many(most: str) -> InvalidRequestError:
    return InvalidRequestError([InvalidField("the body", f"may have at most {most}")])
