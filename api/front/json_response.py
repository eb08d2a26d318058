"""JSON answers, always ASCII, so that half of a surrogate pair from a provider cannot break one."""

import json

from starlette.responses import Response

from api.front.exchange import Json


def encode(value: Json) -> bytes:
    """Return the JSON text of an object. Raises ValueError for NaN and infinities."""
    return ascii_json(json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")))


def ascii_json(text: str) -> bytes:
    """Return a JSON text in ASCII as bytes without the one control character that may be in it as it is, DEL."""
    return text.encode("ascii").replace(b"\x7f", b"\\u007f")


def json_response(value: Json, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    """Return an answer with `value` as its body."""
    return Response(encode(value), status, headers, "application/json")
