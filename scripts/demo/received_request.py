"""The requests that a stand-in provider receives, and the subset of HTTP/1.1 that it implements.

Keys are read from the headers that providers use: `x-api-key`, `api-key` and `authorization`.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_DEPLOYMENT = re.compile(r"/openai/deployments/[^/]+/")

Key = str | None


@dataclass(frozen=True, slots=True)
class Received:
    """One request as received. Header names are lower case; key_header: the header that held the key."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    key: Key
    key_header: str | None


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    """Read one request, or return None at the end of the connection. Raises IncompleteReadError."""
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    key, key_header = _key(headers)
    return Received(method, url.path, dict(parse_qsl(url.query)), headers, _json_of(raw), key, key_header)


def _json_of(raw: bytes) -> Any:
    """Return the body parsed as JSON, or None where it is not JSON, as in some pass-through calls."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _key(headers: dict[str, str]) -> tuple[Key, str | None]:
    for name in ("x-api-key", "api-key", "authorization"):
        if name in headers:
            return headers[name].removeprefix("Bearer "), name
    return None, None


def expected_key_header(path: str) -> str:
    """Return the header in which the provider behind `path` expects its key."""
    if path.endswith("/messages"):
        return "x-api-key"
    return "api-key" if _DEPLOYMENT.search(path) else "authorization"


def response_head(status: int, headers: dict[str, str]) -> bytes:
    """Return the status line and the headers of a response."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Answer\r\n{lines}\r\n".encode("latin-1")


def error_body(message: str) -> bytes:
    """Return an error in a form that both OpenAI's and Anthropic's clients understand."""
    return json.dumps({"type": "error", "error": {"type": "refused", "message": message, "code": "refused"}}).encode()
