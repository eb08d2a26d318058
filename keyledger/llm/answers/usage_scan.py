"""Finds the token counts in a JSON object that is too long to be held: its members `usage` and `model`, piece by piece.

Promises: only members of the object itself, or of its `response` or `message`, are found: whatever a model wrote is
deeper, or within a text. Of the document at most `VALUE_MAX` bytes are kept. A document with more than `MARKS_MAX`
brackets and texts is not looked at further, so none takes long.
"""

import re
from contextlib import suppress
from typing import Any

from keyledger.llm.answers.bounded_json import InvalidAnswerError, read_object
from keyledger.llm.answers.bounds import PLAIN

VALUE_MAX = 16 * 1024
MARKS_MAX = 1_000_000
_WITHIN_TEXT = re.compile(rb'["\\]')
_OUTSIDE = re.compile(rb'["{}\[\]]')
_AMONG_MEMBERS = re.compile(rb'["{}\[\]:,]')
_COUNTS = frozenset({b"usage", b"usageMetadata"})
_HOLDERS = frozenset({b"response", b"message"})
_OPENING = frozenset(b"{[")
_QUOTE, _BACKSLASH, _COLON, _COMMA = b'"\\:,'


class UsageScan:
    """One document. `feed` takes its bytes in order."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._marks = 0
        self._depth = 0
        self._level = 1
        self._in_text = self._escaped = False
        self._text = bytearray()
        self._member = b""
        self._value: bytearray | None = None
        self._value_depth = 0

    def found(self) -> dict[str, Any]:
        """Return what was found, as if the document had nothing else."""
        return self._found

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        at, end = 0, len(piece)
        while at < end and self._marks < MARKS_MAX:
            if self._escaped:
                self._keep(piece[at : at + 1])
                self._escaped = False
                at += 1
                continue
            looked_for = _WITHIN_TEXT if self._in_text else _AMONG_MEMBERS if self._depth == self._level else _OUTSIDE
            mark = looked_for.search(piece, at)
            if mark is None:
                self._keep(piece[at:])
                return
            self._keep(piece[at : mark.end()])
            at = mark.end()
            self._marks += 1
            self._step(piece[mark.start()])

    def _keep(self, part: bytes) -> None:
        if self._value is not None and len(self._value) <= VALUE_MAX:
            self._value += part
        if self._in_text and self._depth == self._level and len(self._text) <= VALUE_MAX:
            self._text += part

    def _step(self, mark: int) -> None:
        if self._in_text:
            self._escaped = mark == _BACKSLASH
            if mark == _QUOTE:
                self._in_text = False
                self._end_text()
        elif mark == _QUOTE:
            self._in_text = True
            self._text.clear()
        elif mark == _COLON:
            self._member = bytes(self._text[:-1])
        elif mark == _COMMA:
            self._member = b""
        elif mark in _OPENING:
            self._open(mark)
        else:
            self._close()

    def _end_text(self) -> None:
        if self._depth == self._level and self._member == b"model":
            self._found["model"] = self._text[:-1].decode("utf-8", "replace")

    def _open(self, mark: int) -> None:
        if self._depth == self._level and self._value is None:
            if self._member in _COUNTS:
                self._value, self._value_depth = bytearray([mark]), self._depth
            elif self._depth == 1 and self._member in _HOLDERS:
                self._level = 2
        self._depth += 1

    def _close(self) -> None:
        self._depth -= 1
        if self._depth < self._level:
            self._level = 1
        if self._value is not None and self._depth == self._value_depth:
            with suppress(InvalidAnswerError):
                self._found["usage"] = read_object(bytes(self._value), PLAIN)
            self._value = None
