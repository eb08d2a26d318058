"""One connection to a provider, between the socket and aiohttp's parser, and what it may be used for.

Promises: a connection serves calls of one `Purpose` only: one tenant, one version of one credential with one key, one
origin. It is closed, and no other call uses it, as soon as anything arrives between two calls, and when anything of an
answer is left over or a request was not sent completely. What precedes the head of an answer is bounded, and so is what
frames its body, because each interim answer and each chunk takes time to parse. A purpose holds a digest of the key,
never the key.
Two private names of aiohttp are in use, `ResponseHandler._parser` and `_buffer`, at the end; tests cover them.
Standard: RFC 9112, section 9 (connection management).
"""

import asyncio
import hashlib
import re
import secrets
import select
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from api.front.web_socket.pipe import Pipe
from domain.credentials.secret import Secret
from keyledger.llm.requests.origin import Origin
from keyledger.llm.wire.early_bytes import EarlyBytes
from keyledger.llm.wire.lease import Owner
from keyledger.llm.wire.observation import Observation

HEAD_MAX = 64 * 1024
"""Bytes that may arrive before the head of an answer has been read, interim answers (1xx) included."""

HEAD_TOO_LARGE = "answer-head-too-large"

FRAMING_MAX = 64 * 1024
"""Bytes that may frame the body of an answer, in addition to twice its length. Those of interim answers before a body
in chunks are counted as well."""

CHUNKS_TOO_SMALL = "answer-chunks-too-small"
"""The reason for ending an answer with more framing. A chunk is framed by five bytes: those of three may be many."""

READ_MAX = 16 * 1024
"""Bytes that are read at a time: an event loop reads sixteen times as many before a slow caller can stop it."""

UNEXPECTED = "unexpected-data"
"""The reason for closing a connection on which something arrived after an answer."""

_BUFFER = memoryview(bytearray(READ_MAX))
_SALT = secrets.token_bytes(32)
_TIMEOUT = re.compile(r"(?i)(?:^|[,;])\s*timeout\s*=\s*\"?([0-9]{1,6})")
_CLOSING_S = 5.0
"""Seconds that a provider has to take what waits for it when its WebSocket is closed."""
_GRACE_S = 1.0
"""Seconds by which a connection is dropped earlier than the provider announces to close it."""


class Purpose(NamedTuple):
    """The calls that a connection may serve. version: None for the global key. key: a digest, new in each process."""

    tenant_id: str
    provider: str
    version: int | None
    key: bytes
    scheme: str
    host: str
    port: int


def purpose_of(owner: Owner, secret: Secret, origin: Origin) -> Purpose:
    """Return the purpose of a connection that carries `secret`."""
    key = hashlib.blake2b(secret.reveal().encode(), key=_SALT, digest_size=16).digest()
    return Purpose(*owner, key, origin.scheme, origin.host, origin.port)


class Shelf(Protocol):
    """Keeps idle connections, and knows all open ones."""

    def keep(self, connection: "ProviderConnection") -> None:
        """Keep a connection whose call has ended."""
        ...

    def forget(self, connection: "ProviderConnection", reason: str) -> None:
        """Forget an idle connection that is being closed. reason: a code for the metrics."""
        ...

    def gone(self, connection: "ProviderConnection") -> None:
        """Forget a connection that has ended."""
        ...


class ProviderConnection(asyncio.BufferedProtocol):
    """A connection that calls use one after the other. It receives all that arrives, and passes it to aiohttp."""

    def __init__(self, opened: Connection, opener: object, purpose: Purpose, keep_s: float, shelf: Shelf) -> None:
        """opened: a new connection, which this object closes. opener: its connector. keep_s: seconds to keep it idle.

        Raises ClientConnectionError if the connection has already ended.
        """
        if opened.transport is None or opened.protocol is None:
            opened.close()
            raise aiohttp.ClientConnectionError("the connection ended at once")
        self.opener = opener
        self.purpose = purpose
        self.opened = opened
        self.parser: ResponseHandler = opened.protocol
        self.served = False
        self.received = 0
        self.observation: Observation | None = None
        self.pipe: Pipe | None = None
        self._until = 0.0
        self._keep_s = keep_s
        self._shelf = shelf
        self._idle = self._retired = False
        self._content: aiohttp.StreamReader | None = None
        self._head = 0
        self._transport: asyncio.Transport = opened.transport
        self._waiting = _waiting_in(self._transport.get_extra_info("socket"))
        self._encrypted = self._transport.get_extra_info("ssl_object") is not None
        self._now = asyncio.get_running_loop().time
        self._transport.pause_reading()  # a read that has begun would keep its own, larger buffer
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def begin(self) -> bool:
        """Start a call on this connection. Return whether the connection can be used; it must be closed otherwise."""
        self._idle, self._content, self.received = False, None, 0
        if self.left_over() or not self.parser.is_connected():
            return False
        # A server may send session tickets just after the handshake of TLS; they do not belong to an answer.
        return (self._encrypted and not self.served) or not self._waiting()

    def answered(self, answer: aiohttp.ClientResponse) -> None:
        """Note that the head of an answer was read."""
        self._content = answer.content
        chunked = "transfer-encoding" in answer.headers
        self._head = _length_of_head(answer) if chunked else self.received - answer.content.total_bytes
        self._note_framing(answer.content)
        if (stated := _TIMEOUT.search(answer.headers.get("keep-alive", ""))) is not None:
            earlier = max(0.0, int(stated[1]) - _GRACE_S)
            if earlier < self._keep_s:
                self._until -= self._keep_s - earlier
                self._keep_s = earlier

    def hand_over(self, close: Callable[[], None]) -> Pipe:
        """Return the connection of a call that left HTTP; aiohttp reads no more of it. close: ends it."""

        def end(stalled: bool) -> None:
            if stalled:
                self._transport.abort()
            else:
                asyncio.get_running_loop().call_later(_CLOSING_S, self._transport.abort)
            close()

        self.pipe = pipe = Pipe(self._transport, self.parser, end)
        self.parser.set_parser(EarlyBytes(pipe), None)  # passes on what arrived with the head of the answer
        return pipe

    def end(self) -> None:
        """End the call: keep the connection for the next one, or close it if any part of this one is left.

        aiohttp calls this while it parses the last bytes of an answer, so `left_over` is asked again later.
        """
        surplus = bool(self.parser._buffer)  # noqa: SLF001  messages after the answer, which close the parser, too
        if self._retired or self._transport.get_write_buffer_size() or (self.parser.should_close and not surplus):
            self.opened.close()
            return
        self.served = self._idle = True
        self._content = self.observation = None
        self._until = self._now() + self._keep_s
        self._shelf.keep(self)
        if surplus:
            self.close(UNEXPECTED)

    def fresh(self) -> bool:
        """Whether an idle connection is within its time."""
        return self._now() < self._until

    def retire(self, reason: str) -> None:
        """Close the connection, after the call that uses it. reason: a code for the metrics, if it is idle."""
        self._retired = True
        if self._idle:
            self.close(reason)

    def close(self, reason: str) -> None:
        """Close the connection. reason: a code for the metrics, if it is idle."""
        if self._idle:
            self._idle = False
            self._shelf.forget(self, reason)
        self.opened.close()

    def left_over(self) -> bool:
        """Whether bytes after the last answer have been read from the socket."""
        return self.parser.should_close or _message_begun(self.parser)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that is read into. All connections share it: it is emptied before the next one reads."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what arrives during a call; close the connection on what arrives between calls."""
        data = bytes(_BUFFER[:nbytes])
        if self.pipe is not None:
            self.pipe.arrived(data)
            return
        if self._idle:
            self.close(UNEXPECTED)
            return
        self.received += len(data)
        if self._content is None and self.received > HEAD_MAX:
            self._break_off(HEAD_TOO_LARGE)
        elif self._content is not None and self._framing(self._content) > FRAMING_MAX + 2 * self._content.total_bytes:
            self._break_off(CHUNKS_TOO_SMALL)
        else:
            self.parser.data_received(data)
            if self._content is not None:
                self._note_framing(self._content)
            self._check_end()

    def _framing(self, content: aiohttp.StreamReader) -> int:
        return self.received - self._head - content.total_bytes

    def _note_framing(self, content: aiohttp.StreamReader) -> None:
        if self.observation is not None:
            self.observation.framing = self._framing(content)

    def _break_off(self, reason: str) -> None:
        if self.observation is not None:
            self.observation.broken_off = reason
        self._transport.abort()

    def _check_end(self) -> None:
        if self._idle and self.left_over():  # the call ended within the bytes that were just parsed
            self.close(UNEXPECTED)

    def eof_received(self) -> None:
        """Pass on that the provider has ended the connection. The transport then closes it."""
        if self._idle:
            self.close("closed-by-provider")
        self.parser.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass on that the connection has ended."""
        if self._idle:
            self.close("closed-by-provider")
        if self.pipe is not None:
            self.pipe.end()
        self._shelf.gone(self)
        self._content = self.observation = None
        self.parser.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the provider reads too slowly."""
        if self.pipe is not None:
            self.pipe.pause_writing()
        self.parser.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the provider reads again."""
        if self.pipe is not None:
            self.pipe.resume_writing()
        self.parser.resume_writing()


def _length_of_head(answer: aiohttp.ClientResponse) -> int:
    """Return the length of the head of an answer, without interim answers before it."""
    status_line = len("HTTP/1.1 200 ") + len(answer.reason or "")
    return status_line + sum(len(name) + len(value) + 4 for name, value in answer.raw_headers) + 4


def _message_begun(parser: ResponseHandler) -> bool:
    """Whether the parser has read the beginning of a message that no one asked for. aiohttp has no public way to ask.

    Its parser says at the end of its input whether a message is incomplete. The next call gets a new parser.
    """
    try:
        return parser._parser is not None and parser._parser.feed_eof() is not None  # noqa: SLF001
    except Exception:  # noqa: BLE001  any of them is about an incomplete message
        return True


def _waiting_in(socket: Any) -> Callable[[], bool]:
    """Return a function that says whether bytes, or the end of the connection, wait unread in the kernel."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return lambda: bool(poll.poll(0))
