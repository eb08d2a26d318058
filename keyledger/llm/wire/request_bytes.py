"""The bytes of one request to a provider.

Promises: exactly one header frames the body; the host is that of the URL. A header with a line end or a zero byte is
refused, because a provider could read it as another request. A body in pieces is sent as far as the connection takes
it, and other tasks run between two pieces.
Standard: RFC 9112, sections 3 (request line), 6 (message body) and 7.1 (chunked).
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence

from yarl import URL

WHOLE_MAX = 256 * 1024
"""Bytes of the longest body that is handed to the connection in one piece."""
_PIECE = 64 * 1024
_WITHOUT_LENGTH = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of which a request without a body says nothing of a length."""
_END_OF_CHUNKS = b"0\r\n\r\n"

Body = bytes | AsyncIterable[bytes] | None


def request_head(method: str, url: URL, headers: Sequence[tuple[str, str]], body: Body) -> bytes:
    """Return the head of a request. Raises ValueError.

    headers: names in lower case. A length in them is that of a body in pieces, which comes in chunks without one.
    """
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", f"host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if all(name != "accept" for name, _ in headers):
        lines.append("accept: */*")
    if isinstance(body, bytes) or (body is None and method not in _WITHOUT_LENGTH):
        lines.append(f"content-length: {len(body or b'')}")
    elif is_chunked(headers, body):
        lines.append("transfer-encoding: chunked")
    head = "\r\n".join(lines).encode()
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a header with a line end")
    return head + b"\r\n\r\n"


def is_chunked(headers: Sequence[tuple[str, str]], body: Body) -> bool:
    """Whether a body is sent in chunks: it comes in pieces, and no header states its length."""
    in_pieces = body is not None and not isinstance(body, bytes)
    return in_pieces and all(name != "content-length" for name, _ in headers)


async def pieces_of(body: bytes | AsyncIterable[bytes], *, chunked: bool) -> AsyncIterator[bytes]:
    """Yield a body as it is sent."""
    if isinstance(body, bytes):
        for start in range(0, len(body), _PIECE):
            yield body[start : start + _PIECE]
        return
    async for piece in body:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
    if chunked:
        yield _END_OF_CHUNKS
