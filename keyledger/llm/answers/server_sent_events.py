"""Parses server-sent events as LLM providers use them: JSON in the `data` lines of each event.

Promises: yields the events in order, whatever the sizes of the pieces, and buffers one event at most.
Standard: WHATWG HTML, section 9.2 (server-sent events): lines end in LF, CR or CRLF, and one byte order mark at the
beginning is passed over. Only the fields `data` and `event` are read.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError

DONE = b"[DONE]"
ERROR = b"error"
"""The name of an event that reports an error, whatever its data."""
HEARTBEATS = frozenset({b"ping", b"heartbeat", b"keepalive", b"keep-alive"})
"""Names of events that only keep a connection open, whatever their data."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event. name: of its `event` line, usually empty."""

    name: bytes
    data: bytes


async def server_sent_events(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[ServerSentEvent]:
    """Yield each event that has data or reports an error, but heartbeats.

    most: the limit of one in bytes. Raises InvalidAnswerError above it.
    """
    name, data, size = b"", list[bytes](), 0
    async for line in _lines(pieces, most):
        size += len(line)
        if size > most:
            raise InvalidAnswerError(TOO_LARGE)
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip()
        elif not line:
            event = ServerSentEvent(name, b"\n".join(data))
            name, data, size = b"", [], 0
            if (event.data or event.name == ERROR) and event.name not in HEARTBEATS:
                yield event
    if any(data):
        yield ServerSentEvent(name, b"\n".join(data))


async def _lines(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Yield lines without their ends. Other separators, which JSON may contain, end none."""
    held: list[bytes] = []
    size = 0
    after_return = False
    first = True
    async for received in pieces:
        piece = received[1:] if after_return and received.startswith(b"\n") else received
        after_return = received.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = b"".join([*held, line])
            yield whole.removeprefix(_BYTE_ORDER_MARK) if first else whole
            held, size, first = [], 0, False
        held.append(rest)
        size += len(rest)
        if size > most:
            raise InvalidAnswerError(TOO_LARGE)
    if last := b"".join(held):
        yield last.removeprefix(_BYTE_ORDER_MARK) if first else last
