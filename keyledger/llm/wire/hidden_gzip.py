"""Looks for a key in a body that is gzip or zlib although no header says so, such as a stored file.

Promises: a body that does not contain the key is passed on as it is. If the inflated body contains the key, the body
can be written again without it as long as none of it has left; otherwise it has to end there.
Not looked into: a body compressed twice, or inside an archive, and what follows a place that cannot be inflated.
"""

import zlib
from contextlib import suppress
from time import perf_counter

from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.wire.inflating import GZIP, NOT_INFLATABLE, ZLIB, Inflater
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.scrubbing import HOLD, Scrubber
from keyledger.llm.wire.turns import TurnsOfOne

KEY_INSIDE = "answer-holds-key"

MAGIC_LENGTH = 3
"""Bytes that show whether a body is compressed."""

_BATCH = HOLD // 2
_GZIP = b"\x1f\x8b\x08"
_METHOD, _WINDOW_MAX, _CHECK, _DICTIONARY = zlib.DEFLATED, 7, 31, 0x20
"""Of the two bytes with which zlib begins (RFC 1950, section 2.2)."""


def window_of(head: bytes) -> int | None:
    """Return the format of a body that begins with these bytes, None for one that is not compressed."""
    if head.startswith(_GZIP):
        return GZIP
    return ZLIB if len(head) > 1 and _begins_zlib(*head[:2]) else None


def _begins_zlib(method: int, flags: int) -> bool:
    if method & 0xF != _METHOD or method >> 4 > _WINDOW_MAX or flags & _DICTIONARY:
        return False
    return (method << 8 | flags) % _CHECK == 0


class HiddenGzip:
    """The inflated copy of one body."""

    def __init__(self, window: int, forms: KeyForms, turns: TurnsOfOne) -> None:
        """window: as returned by `window_of`. turns: of this response."""
        self._window = window
        self._forms = forms
        self._turns = turns
        self._inflater: Inflater | None = Inflater(window)
        self._found = False
        self._waiting = bytearray()
        self._tail = b""
        self._whole: bytearray | None = bytearray()  # the body, until some of it has left

    async def feed(self, piece: bytes) -> None:
        """Look into the next piece of the body, in steps between which other tasks run.

        Raises InvalidAnswerError if the inflated body is too large.
        """
        self._waiting += piece
        if self._whole is not None:
            self._whole += piece
        if len(self._waiting) >= _BATCH:  # fewer bytes than the scrubber holds back
            await self._look()

    def leave(self) -> None:
        """Allow the bytes before those held back to leave. Raises InvalidAnswerError if the body contains the key."""
        self._whole = None
        if self._found:
            raise InvalidAnswerError(KEY_INSIDE)

    async def finish(self) -> bytes | None:
        """Return the whole body without the key if it was found, otherwise None. Raises as `feed` and `leave` do."""
        await self._look()
        if self._found and self._whole is not None:
            return await self._rewritten(bytes(self._whole))
        self.leave()
        return None

    async def _look(self) -> None:
        waiting = bytes(self._waiting)
        self._waiting.clear()
        if self._inflater is None or self._found:
            return
        self._inflater.feed(waiting)
        try:
            while not self._found and (inflated := self._inflater.step()):
                begun = perf_counter()
                text = self._tail + inflated
                self._found = self._forms.found_in(text)
                self._tail = text[-HOLD:]
                self._turns.took(perf_counter() - begun)
                await self._turns.wait()
        except InvalidAnswerError as error:
            if error.reason != NOT_INFLATABLE:
                raise
            self._inflater = None

    async def _rewritten(self, body: bytes) -> bytes:
        inflater, compressor = Inflater(self._window), zlib.compressobj(wbits=self._window)
        parts, scrubber = [], Scrubber(self._forms)
        inflater.feed(body)
        with suppress(InvalidAnswerError):  # what follows cannot be inflated by the caller either
            while inflated := inflater.step():
                parts.append(compressor.compress(scrubber.feed(inflated)))
                await self._turns.wait()
        return b"".join([*parts, compressor.compress(scrubber.finish()), compressor.flush()])
