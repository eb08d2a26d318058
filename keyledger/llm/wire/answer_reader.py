"""Reads the response of one call from the network, inflated, with the key removed and within limits.

Promises: what is read does not contain the key (see `scrubbed_body`); a response that is too long, too slow or cut off
ends early, with `broken` set and the reason in the observation. Other tasks run between steps of 36 KiB, which are much
shorter where the provider sends small chunks, and for as long as a slow step took (see `turns`). For a caller who does
not read, nothing is read ahead but what the scrubber holds back and the connection's own buffer. No key is held after
the end or after `drop`.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter

from keyledger.llm.answers.bounded_json import TOO_LARGE, InvalidAnswerError
from keyledger.llm.wire.answer_content import AnswerContent
from keyledger.llm.wire.hidden_gzip import MAGIC_LENGTH, window_of
from keyledger.llm.wire.inflating import WINDOWS, Inflater
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.observation import Observation, note_failure
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.scrubbed_body import ScrubbedBody
from keyledger.llm.wire.scrubbing import STEP, redacted
from keyledger.llm.wire.turns import TurnsOfOne

ENCODING_UNKNOWN = "answer-encoding-unknown"

_PLAIN = frozenset({"", "identity"})
_SMALL_STEP = STEP // 16
"""Bytes of a body in small chunks that are read at a time: each chunk costs some microseconds, however short it is."""
_FRAMING_USUAL = 1024
"""Bytes of framing that any body may have without being read in small steps."""
_FRAMED = 32
"""Bytes of a body that take as long to read and to search as one byte of framing."""


def is_readable(answer: ProviderAnswer) -> bool:
    """Return whether the content encoding of a response can be looked into."""
    encoding = _encoding(answer)
    return encoding in _PLAIN or encoding in WINDOWS


@dataclass(frozen=True, slots=True)
class Limits:
    """size: bytes. pause: the longest wait for a piece, in seconds. deadline: in the event loop's time, or None."""

    size: int
    pause: float
    deadline: float | None


class AnswerReader:
    """One response being read."""

    def __init__(
        self,
        answer: ProviderAnswer,
        observation: Observation,
        forms: KeyForms,
        limits: Limits,
        turns: TurnsOfOne,
    ) -> None:
        """answer: with its head received, and readable. observation: receives the reason when the response breaks off.

        forms: of the key to remove. limits: of the inflated response. turns: of this response.
        """
        self._answer: ProviderAnswer | None = answer
        self._observation = observation
        self._forms: KeyForms | None = forms
        self._body = ScrubbedBody(forms, answer.head.value(b"content-type"), turns)
        encoding = _encoding(answer)
        self._inflater = None if encoding in _PLAIN else Inflater(WINDOWS[encoding])
        self._limits = limits
        self._turns = turns
        self._size = self._received = 0
        self._at_a_stretch = 0
        self._ahead = b""
        self.broken = False

    async def next(self) -> bytes | None:
        """Return the next piece, or None at the end or where the response broke off."""
        while self._answer is not None:
            passed = await self._step(self._answer)
            if self.broken:
                self.drop()
                return None
            if passed:
                return passed
        return None

    async def rest_at_hand(self) -> bytes | None:
        """Return the rest of the response if all of it has arrived, else None. Does not wait for the network.

        Returns None for a compressed response too, because its length is not known, and for one that is broken.
        """
        answer, forms = self._answer, self._forms
        if answer is None or forms is None or not _has_arrived(answer, self._limits.size):
            return None
        if self._inflater is not None and answer.content.total_bytes > 0:
            return None
        if answer.content.total_bytes <= STEP and not self._in_small_chunks(answer.content):
            rest = answer.content.take(STEP)
            if window_of(rest[:MAGIC_LENGTH]) is None:
                self._answer = None
                self.drop()
                return redacted(rest, forms)
            self._ahead = rest
        pieces = []
        while (piece := await self.next()) is not None:
            pieces.append(piece)
        return None if self.broken else b"".join(pieces)

    def took(self, seconds: float) -> None:
        """Note how long its caller took to look at a piece."""
        self._turns.took(seconds)

    def drop(self) -> None:
        """Stop reading and close the connection."""
        answer, self._answer, self._forms, self._inflater, self._ahead = self._answer, None, None, None, b""
        self._body.drop()
        if answer is not None:
            answer.close()

    async def _step(self, answer: ProviderAnswer) -> bytes:
        """Return what the next piece allows to leave. Errors are noted, not raised: their tracebacks reach the key."""
        cancelled: tuple[object, ...] | None = None
        passed = b""
        try:
            if answer.content.ready:
                passed = await self._scrubbed(answer.content)
            else:
                async with asyncio.timeout_at(self._limits.deadline or _now() + self._limits.pause):
                    passed = await self._scrubbed(answer.content)
        except asyncio.CancelledError as error:
            cancelled = error.args
        except InvalidAnswerError as error:
            self._observation.failure = error.reason
            self.broken = True
        except Exception as error:  # noqa: BLE001  only the kind of the error may leave
            note_failure(self._observation, error)
            self.broken = True
        if cancelled is not None:
            self.drop()
            raise asyncio.CancelledError(*cancelled)  # a name for it would keep this frame, and the answer with it
        return passed

    async def _scrubbed(self, content: AnswerContent) -> bytes:
        if self._at_a_stretch >= STEP:  # what has arrived is read without waiting, so let other tasks run
            self._at_a_stretch = 0
            await self._turns.wait()
        piece = await self._inflated(content)
        framed = _FRAMED * self._observation.framing // max(1, content.total_bytes)
        self._at_a_stretch += len(piece) * (1 + framed)
        self._size += len(piece)
        if self._size > self._limits.size:
            raise InvalidAnswerError(TOO_LARGE)
        if piece:
            return await self._body.feed(piece)
        self._answer = self._forms = self._inflater = None  # at its end, it has released its connection
        return await self._body.finish()

    async def _inflated(self, content: AnswerContent) -> bytes:
        """Return the next piece of the inflated body, empty at its end."""
        while self._inflater is None or not (piece := self._inflater.step()):
            received = self._ahead or await self._next_of(content)
            self._received += len(received)
            self._ahead = b""
            if self._inflater is None:
                return received
            if not received:
                self._inflater.finish()
                return b""
            self._inflater.feed(received)
        return piece

    async def _next_of(self, content: AnswerContent) -> bytes:
        """Return what has arrived, or arrives next, as far as it belongs to one step."""
        waits = content.total_bytes == self._received
        begun = perf_counter()
        received = await content.read(_SMALL_STEP if self._in_small_chunks(content) else STEP)
        if not waits:
            self._turns.took(perf_counter() - begun)
        return received

    def _in_small_chunks(self, content: AnswerContent) -> bool:
        return 16 * (self._observation.framing - _FRAMING_USUAL) > content.total_bytes


def _has_arrived(answer: ProviderAnswer, most: int) -> bool:
    return answer.content.whole and answer.content.total_bytes <= most


def _encoding(answer: ProviderAnswer) -> str:
    return ",".join(answer.head.values(b"content-encoding")).strip().lower()  # several are one list (RFC 9110)


def _now() -> float:
    return asyncio.get_running_loop().time()
