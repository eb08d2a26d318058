"""Inflates a body in steps, within a ratio.

Promises: each step returns at most 36 KiB, and the whole at most 100 times what has been read of the input, beyond a
first MiB. Members that follow each other are inflated one after the other. Raises InvalidAnswerError only.
Standard: RFC 9110, section 8.4.1 (gzip, deflate); deflate without its zlib header is accepted, as clients do.
"""

import zlib

from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError
from keyledger.llm.answers.bounds import MIB

PIECE = 36 * 1024
RATIO_MAX = 100
MEMBERS_MAX = 100
"""Members shorter than a KiB on average, since each costs as much as inflating some KiB."""

BROKEN_OFF = "answer-cut-off"
NOT_INFLATABLE = "answer-not-inflatable"

GZIP, ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

WINDOWS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": None}
"""The argument of `Inflater` for each content encoding."""


class Inflater:
    """One compressed body being inflated."""

    def __init__(self, window: int | None) -> None:
        """window: GZIP or ZLIB; None for deflate with or without the header of zlib, as the first byte says."""
        self._window = window
        self._member = None if window is None else zlib.decompressobj(window)
        self._input = b""
        self._full = False  # zlib may hold output for which the last step had no room
        self._read = self._inflated = self._members = 0

    def feed(self, piece: bytes) -> None:
        """Add a piece of the compressed body."""
        if self._member is None and piece:
            self._window = ZLIB if piece[0] & 0xF == zlib.DEFLATED else _RAW
            self._member = zlib.decompressobj(self._window)
        self._input += piece

    def step(self) -> bytes:
        """Return the next inflated bytes, or none when more input is needed. Raises InvalidAnswerError."""
        while self._member is not None and (self._input or self._full):
            if self._member.eof:
                self._member = self._next_member()
            member, given = self._member, len(self._input)
            try:
                piece = member.decompress(self._input, PIECE)
            except zlib.error:
                raise InvalidAnswerError(NOT_INFLATABLE) from None
            self._input = member.unused_data if member.eof else member.unconsumed_tail
            self._full = len(piece) == PIECE and not member.eof
            self._read += given - len(self._input)
            self._inflated += len(piece)
            if self._inflated > max(MIB, RATIO_MAX * self._read):
                raise InvalidAnswerError(TOO_LARGE)
            if piece:
                return piece
        return b""

    def finish(self) -> None:
        """Check that the body was complete. Raises InvalidAnswerError."""
        if self._read and self._member is not None and not self._member.eof:
            raise InvalidAnswerError(BROKEN_OFF)

    def _next_member(self) -> "zlib._Decompress":
        self._members += 1
        if self._members > MEMBERS_MAX + self._read // 1024:
            raise InvalidAnswerError(TOO_LARGE)
        return zlib.decompressobj(ZLIB if self._window is None else self._window)
