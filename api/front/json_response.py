"""JSON answers, always ASCII, so that half of a surrogate pair from a provider cannot break one."""

import json

from starlette.responses import Response

from api.front.exchange import Json


def encode(value: Json) -> bytes:
    """Return the JSON text of an object. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def json_response(value: Json, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    """Return an answer with `value` as its body."""
    return Response(encode(value), status, headers, "application/json")
