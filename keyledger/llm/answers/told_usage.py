"""Finds what a provider says of tokens in the bytes of an answer that is passed on unchanged.

Promises: the bytes are looked at, never held back or changed; at most `HELD_MAX` of them are kept. JSON and streams of
events are read, nothing else; what cannot be read says nothing.
"""

from contextlib import suppress

from domain.calls.tokens import ToldUsage
from keyledger.llm.answers.bounded_json import InvalidAnswerError, read_object
from keyledger.llm.answers.bounds import PLAIN
from keyledger.llm.answers.usage_scan import UsageScan

HELD_MAX = 64 * 1024
_MARKS = (b'"usage"', b'"usageMetadata"')


class UsageOfDocument:
    """Reads one JSON document. A short one is parsed; of a long one only the members that matter are."""

    def __init__(self, told: ToldUsage) -> None:
        self._told = told
        self._held = bytearray()
        self._scan: UsageScan | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._scan is None and len(self._held) + len(piece) > HELD_MAX:
            self._scan = UsageScan()
            self._scan.feed(bytes(self._held))
            self._held.clear()
        if self._scan is not None:
            self._scan.feed(piece)
        else:
            self._held += piece

    def finish(self) -> None:
        """Note what the document says, and begin another one."""
        if self._scan is not None:
            self._told.note(self._scan.found())
        elif any(mark in self._held for mark in _MARKS):
            with suppress(InvalidAnswerError):
                self._told.note(read_object(bytes(self._held).strip(), PLAIN))
        self._scan = None
        self._held.clear()


class UsageOfEvents:
    """Reads the events of a stream, each in lines that begin with `data:`."""

    def __init__(self, told: ToldUsage) -> None:
        self._document = UsageOfDocument(told)
        self._begun = b""
        self._reading: bool | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        *ended, rest = (piece.replace(b"\r", b"\n") if b"\r" in piece else piece).split(b"\n")
        for line in ended:
            self._take(line)
            if self._reading:
                self._document.finish()
            self._reading, self._begun = None, b""
        self._take(rest)

    def finish(self) -> None:
        """Take the end."""
        self.feed(b"\n")

    def _take(self, part: bytes) -> None:
        """Take a part of a line. Whether it has data is known from its first five bytes."""
        if self._reading is None:
            part = self._begun + part
            if len(part) < 5:
                self._begun = part
                return
            self._reading = part.startswith(b"data:")
            part = part[5:]
        if self._reading and part:
            self._document.feed(part)


UsageReader = UsageOfDocument | UsageOfEvents


def usage_of(content_type: str, told: ToldUsage) -> UsageReader | None:
    """Return the reader of an answer; None for one that says nothing of tokens."""
    if content_type == "text/event-stream":
        return UsageOfEvents(told)
    return UsageOfDocument(told) if content_type == "application/json" else None
