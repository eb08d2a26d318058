"""Removes a key from one body, be it plain or compressed without saying so.

Promises: as `scrubbing` and, for a body that begins like gzip or zlib, `hidden_gzip`. Other tasks run between the steps
of inflating. No key is held after the end or after `drop`.
"""

from time import perf_counter

from keyledger.llm.wire.hidden_gzip import MAGIC_LENGTH, HiddenGzip, window_of
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.scrubbing import Scrubber
from keyledger.llm.wire.turns import TurnsOfOne


class ScrubbedBody:
    """One body on its way to the caller."""

    def __init__(self, forms: KeyForms, media_type: str, turns: TurnsOfOne) -> None:
        """forms: of the key to remove. media_type: as for `Scrubber`. turns: of this response."""
        self._forms: KeyForms | None = forms
        self._media_type = media_type
        self._turns = turns
        self._head = b""
        self._scrubber: Scrubber | None = None  # once the head has shown whether the body is compressed
        self._hidden: HiddenGzip | None = None

    async def feed(self, piece: bytes) -> bytes:
        """Return the bytes that can be passed on so far. Raises InvalidAnswerError for a body that has to end here."""
        if self._scrubber is None:
            self._head += piece
            if len(self._head) < MAGIC_LENGTH:
                return b""
            piece = self._begin()
        assert self._scrubber is not None  # noqa: S101  begun
        begun = perf_counter()
        passed = self._scrubber.feed(piece)
        self._turns.took(perf_counter() - begun)
        if self._hidden is not None:
            await self._hidden.feed(piece)
            if passed:
                self._hidden.leave()
        return passed

    async def finish(self) -> bytes:
        """Return the remaining bytes and drop the key. Raises InvalidAnswerError as `feed` does."""
        head = self._begin() if self._scrubber is None else b""
        assert self._scrubber is not None  # noqa: S101  begun
        rewritten = None if self._hidden is None else await self._hidden.finish()
        rest = self._scrubber.feed(head) + self._scrubber.finish()
        self.drop()
        return rest if rewritten is None else rewritten

    def drop(self) -> None:
        """Drop the bytes held back and the key."""
        if self._scrubber is not None:
            self._scrubber.drop()
        self._forms, self._hidden, self._head = None, None, b""

    def _begin(self) -> bytes:
        """Choose how to look for the key. Return the head, which decides it and has not been looked at."""
        assert self._forms is not None  # noqa: S101  not dropped
        head, self._head = self._head, b""
        window = window_of(head)
        self._hidden = None if window is None else HiddenGzip(window, self._forms, self._turns)
        self._scrubber = Scrubber(self._forms, self._media_type if window is None else "")
        return head
