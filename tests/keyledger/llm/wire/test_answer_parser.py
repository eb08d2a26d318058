"""The parser of answers agrees with a server that others wrote, wherever the network cuts what that sends."""

from dataclasses import dataclass, field
from itertools import pairwise

import h11
import pytest
from httptools import HttpParserError
from hypothesis import given
from hypothesis import strategies as st

from keyledger.llm.wire.answer_parser import AnswerHead, AnswerParser


@dataclass
class Received:
    """Takes what is parsed."""

    heads: list[AnswerHead] = field(default_factory=list)
    body: bytes = b""

    def head_arrived(self, head: AnswerHead) -> None:
        self.heads.append(head)

    def body_arrived(self, piece: bytes) -> None:
        self.body += piece


def parsed(data: bytes, cuts: list[int], *, bodiless: bool = False) -> tuple[Received, AnswerParser]:
    received = Received()
    parser = AnswerParser(received, bodiless=bodiless)
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(borders):
        parser.feed(data[start:end])
    return received, parser


NAMES = st.from_regex(r"x-[a-z0-9]{1,12}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)
CUTS = st.lists(st.integers(min_value=0, max_value=100_000), max_size=12)
METHODS = st.sampled_from(["GET", "POST", "HEAD"])


@given(
    method=METHODS,
    status=st.sampled_from([200, 201, 204, 304, 400, 401, 429, 500]),
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    pieces=st.lists(st.binary(max_size=200), max_size=6),
    chunked=st.booleans(),
    interim=st.integers(min_value=0, max_value=3),
    cuts=CUTS,
)
def test_any_answer_of_a_server_is_read_as_it_was_sent(method, status, headers, pieces, chunked, interim, cuts):
    server = h11.Connection(h11.SERVER)
    server.receive_data(f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    while not isinstance(server.next_event(), h11.EndOfMessage):
        pass
    body = b"".join(pieces)
    framing = [("transfer-encoding", "chunked")] if chunked else [("content-length", str(len(body)))]
    data = b"".join(server.send(h11.InformationalResponse(status_code=103, headers=[])) or b"" for _ in range(interim))
    data += server.send(h11.Response(status_code=status, headers=[*headers, *framing])) or b""
    expected = b"" if method == "HEAD" or status in {204, 304} else body
    for piece in pieces if expected else ():
        data += server.send(h11.Data(data=piece)) or b""
    if expected or (method != "HEAD" and status not in {204, 304} and not body):
        data += server.send(h11.EndOfMessage()) or b""
    received, parser = parsed(data, cuts, bodiless=method == "HEAD")
    assert [head.status for head in received.heads] == [status]
    given_back = [(name.decode(), value.decode()) for name, value in received.heads[0].headers]
    assert [one for one in given_back if one[0].startswith("x-")] == headers
    assert (received.body, parser.complete, parser.surplus) == (expected, True, False)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
WRONG = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 6\r\n\r\nabcdef",
    "length and chunks": CHUNKED + b"Content-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\nzz\r\na\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"\r\n1\r\nabc\r\n0\r\n\r\n",
    "a size that overflows": CHUNKED + b"\r\nfffffffffffffffff\r\na",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
    "a folded header": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a control character in a value": b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "a carriage return alone": b"HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
@given(cuts=CUTS)
def test_a_misframed_answer_is_refused_wherever_it_is_cut(data, cuts):
    with pytest.raises(HttpParserError):
        parsed(data, cuts)


BEHIND = {
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "the beginning of one": b"HTT",
    "anything else": b"\x00\x01",
}
FIRST = {
    "with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "in chunks": CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
    "with trailers": CHUNKED + b"\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    "that announces its end": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
@given(cuts=CUTS)
def test_bytes_behind_an_answer_are_no_part_of_it_and_are_noticed(first, behind, cuts):
    received, parser = parsed(first + behind, cuts)
    assert (received.body, len(received.heads), parser.complete, parser.surplus) == (b"ok", 1, True, True)


def test_trailers_are_not_headers():
    received, _ = parsed(FIRST["with trailers"], [])
    assert received.heads[0].values(b"x-sum") == []


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        CHUNKED + b"\r\n2 \r\nok\r\n0\r\n\r\n",
    ],
    ids=["line feeds alone", "a space behind a size"],
)
def test_what_some_servers_write_is_read(data):
    received, parser = parsed(data, [])
    assert (received.body, parser.complete) == (b"ok", True)
