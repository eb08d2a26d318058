"""JSON answers, always ASCII, so that half of a surrogate pair from a provider cannot break one."""

import asyncio
import json
from collections.abc import Iterator

from starlette.responses import Response

from api.front.exchange import Json
from api.front.json_structure import is_long

_STEP = 1024
"""Values encoded at a time: numbers take longest, about half a microsecond each."""
_MEDIA_TYPE = "application/json"


def encode(value: object) -> bytes:
    """Return the JSON text of an object. Raises ValueError for NaN and infinities."""
    return ascii_json(json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")))


def ascii_json(text: str) -> bytes:
    """Return a JSON text in ASCII as bytes without the one control character that may be in it as it is, DEL."""
    return text.encode("ascii").replace(b"\x7f", b"\\u007f")


def json_response(value: Json, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    """Return an answer with `value` as its body."""
    return Response(encode(value), status, headers, _MEDIA_TYPE)


async def json_response_in_steps(value: Json, headers: dict[str, str]) -> Response:
    """Return an answer with `value` as its body. A long one is encoded in steps, and others are served in between."""
    if not is_long(value):
        return json_response(value, headers)
    pieces: list[bytes] = []
    done = 0
    for piece, count in _steps(value):
        pieces.append(piece)
        done += count
        if done > _STEP:
            done = 0
            await asyncio.sleep(0)
    return Response(b"".join(pieces), 200, headers, _MEDIA_TYPE)


def _steps(value: object) -> Iterator[tuple[bytes, int]]:
    """Yield the JSON text of `value` in pieces, each with the number of values it took."""
    if isinstance(value, dict) and any(isinstance(member, dict | list) for member in value.values()):
        opening = b"{"
        for name, member in value.items():
            yield opening + encode(name) + b":", 1
            yield from _steps(member)
            opening = b","
        yield b"}", 0
    elif isinstance(value, list) and len(value) > _STEP and not isinstance(value[0], dict | list):
        for start in range(0, len(value), _STEP):
            step = value[start : start + _STEP]
            yield (b"," if start else b"[") + encode(step)[1:-1], len(step)
        yield b"]", 0
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        opening = b"["
        for item in value:
            yield opening, 0
            yield from _steps(item)
            opening = b","
        yield b"]", 0
    else:
        yield encode(value), len(value) if isinstance(value, dict | list) else 1
