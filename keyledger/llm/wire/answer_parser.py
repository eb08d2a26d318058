"""Parses one answer on a connection, interim answers before it included.

Promises: an interim answer is passed over. Trailers are dropped. An answer ends where its framing says, or with its
connection where nothing frames it; whatever follows it is `surplus`. An answer that leaves HTTP ends its parsing, and
what arrived with it is kept.
Refuses: everything that the parser of Node.js, llhttp, does not accept, but that it accepts lines that end with a line
feed alone and spaces behind the size of a chunk, as some servers send them.
Standard: RFC 9112, sections 6 (message body) and 7 (transfer codings).
"""

from typing import NamedTuple, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_SWITCHING = 101
_HEAD_ONLY = frozenset({204, 304})


class AnswerHead(NamedTuple):
    """The head of an answer. headers: in their order, with names in lower case. length: in bytes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int

    def values(self, name: bytes) -> list[str]:
        """Return the values of all headers of a name, which is in lower case."""
        return [value.decode("latin-1") for one, value in self.headers if one == name]

    def value(self, name: bytes) -> str:
        """Return the value of the first header of a name, empty if there is none."""
        return next((value.decode("latin-1") for one, value in self.headers if one == name), "")


class Receiver(Protocol):
    """Takes what is parsed."""

    def head_arrived(self, head: AnswerHead) -> None:
        """Take the head of the answer."""
        ...

    def body_arrived(self, piece: bytes) -> None:
        """Take bytes of its body."""
        ...


class AnswerParser:
    """The parser of one answer.

    begun: its head was parsed. complete: the whole of it was. chunked: its body comes in chunks. surplus: bytes of
    another message followed. keeps: the connection may stay open after it. switched: it leaves HTTP. behind: what
    arrived after it then.
    """

    def __init__(self, receiver: Receiver, *, bodiless: bool) -> None:
        """receiver: takes what is parsed. bodiless: the request was a HEAD, so no body follows the head."""
        self._receiver: Receiver | None = receiver
        self._bodiless = bodiless
        self._http: HttpResponseParser | None = HttpResponseParser(self)
        self._http.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._headers: list[tuple[bytes, bytes]] = []
        self._length = 0
        self._interim = False
        self._framed = False
        self.begun = self.complete = self.chunked = self.surplus = self.keeps = self.switched = False
        self.behind = b""

    def feed(self, data: bytes) -> None:
        """Parse bytes. Raises HttpParserError."""
        if self._http is None:
            self.surplus = True
            return
        try:
            self._http.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.behind = data[upgrade.args[0] :]
        except HttpParserError:
            if not self.complete:
                raise
            self.surplus = True

    def feed_end(self) -> bool:
        """Note that the connection has ended. Return whether the answer is complete."""
        if self.begun and not self._framed:
            self.complete = True
        return self.complete

    def drop(self) -> None:
        """Release what refers to this object and to its receiver."""
        self._http = self._receiver = None

    def on_message_begin(self) -> None:
        """Begin an answer, or note that another one follows."""
        if self.begun:
            self.surplus = True
        self._headers, self._length = [], 0

    def on_status(self, reason: bytes) -> None:
        """Count the text of the status line."""
        self._length = len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers come here, too."""
        if not self.begun:
            self._headers.append((name.lower(), value))
            self._length += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Pass the head on, unless it is of an interim answer."""
        if self._http is None or self._receiver is None or self.begun:
            return
        status = self._http.get_status_code()
        self._interim = 100 <= status < 200 and status != _SWITCHING
        if self._interim:
            return
        head = AnswerHead(status, self._headers, len("HTTP/1.1 200 \r\n\r\n") + self._length)
        coded = head.values(b"transfer-encoding")
        self.begun, self.switched = True, status == _SWITCHING
        self.chunked = bool(coded) and coded[-1].lower().endswith("chunked")
        self._framed = self.chunked or self._bodiless or status in _HEAD_ONLY or bool(head.values(b"content-length"))
        self._receiver.head_arrived(head)
        if self._bodiless:  # the parser does not know, and would take what follows for the body
            self.complete = True

    def on_body(self, piece: bytes) -> None:
        """Pass bytes of the body on."""
        if self.complete:
            self.surplus = True
        elif self._receiver is not None:
            self._receiver.body_arrived(piece)

    def on_message_complete(self) -> None:
        """Note the end of an answer."""
        if self._interim or self.complete or self._http is None:
            self._interim = False
            return
        self.complete = True
        self.keeps = self._http.should_keep_alive()
