"""A server that others wrote reads the request that was meant, and a header cannot become another request."""

import asyncio
from collections.abc import AsyncIterator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from keyledger.llm.wire.request_bytes import is_chunked, pieces_of, request_head

METHODS = st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
NAMES = st.from_regex(r"x-[a-z0-9]{1,12}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)


async def _pieces(given_ones: list[bytes]) -> AsyncIterator[bytes]:
    for piece in given_ones:
        yield piece


def read_by_a_server(data: bytes) -> tuple[h11.Request, bytes]:
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request, body = server.next_event(), b""
    assert isinstance(request, h11.Request)
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    assert server.trailing_data == (b"", False)
    return request, body


@given(
    method=METHODS,
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    pieces=st.none() | st.lists(st.binary(max_size=100), max_size=5),
    counted=st.booleans(),
    whole=st.booleans(),
)
def test_a_server_reads_what_was_sent(method, headers, pieces, counted, whole):
    body = b"".join(pieces or ())
    if not (pieces is None or whole) and counted:
        headers = [*headers, ("content-length", str(len(body)))]
    content = None if pieces is None else body if whole else _pieces(pieces)

    async def sent() -> bytes:
        data = request_head(method, URL("http://provider:8080/v1/x?q=a%20b", encoded=True), headers, content)
        if isinstance(content, bytes):
            return data + content
        if content is not None:
            chunked = is_chunked(headers, content)
            data += b"".join([piece async for piece in pieces_of(content, chunked=chunked)])
        return data

    request, read = read_by_a_server(asyncio.run(sent()))
    assert (request.method, request.target, read) == (method.encode(), b"/v1/x?q=a%20b", body)
    assert dict(request.headers)[b"host"] == b"provider:8080"
    assert [one for one in request.headers if one[0].startswith(b"x-")] == [
        (n.encode(), v.encode()) for n, v in headers if n.startswith("x-")
    ]


@pytest.mark.parametrize("evil", ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\rb", "a\0b", "\r\n\r\nGET / HTTP/1.1"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_with_a_line_end_is_refused(evil, place):
    header = (evil, "1") if place == "name" else ("x-good", evil)
    with pytest.raises(ValueError, match="line end"):
        request_head("GET", URL("http://provider/"), [header], None)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.openai.com/v1/x", "api.openai.com"),
        ("https://api.openai.com:443/v1/x", "api.openai.com"),
        ("https://api.openai.com:8443/v1/x", "api.openai.com:8443"),
        ("http://[::1]:8000/v1/x", "[::1]:8000"),
    ],
)
def test_the_host_is_that_of_the_url(url, host):
    assert f"\r\nhost: {host}\r\n".encode() in request_head("GET", URL(url), [], None)
