"""Reads the answer of one call from the network, scrubbed of the key and within limits.

Promises: what is read holds no key (see `scrubbing`); an answer that is too long, too slow or cut off ends early with
`broken` set and the reason in `observation`. Once the end is reached or the answer dropped, no key is held here.
"""

import asyncio
from dataclasses import dataclass

import aiohttp

from keyledger.llm.answers.bounded_json import TOO_LARGE
from keyledger.llm.wire.observation import Observation, note_failure
from keyledger.llm.wire.scrubbing import Scrubber


@dataclass(frozen=True, slots=True)
class Limits:
    """`size` in bytes; `pause` is the longest wait for a piece in seconds, `deadline` a moment of the loop's clock."""

    size: int
    pause: float
    deadline: float | None


class AnswerReader:
    """One answer being read."""

    def __init__(
        self, answer: aiohttp.ClientResponse, observation: Observation, scrubber: Scrubber, limits: Limits
    ) -> None:
        self._answer: aiohttp.ClientResponse | None = answer
        self._observation = observation
        self._scrubber = scrubber
        self._limits = limits
        self._size = 0
        self.broken = False

    async def next(self) -> bytes | None:
        """Return the next piece, or None when there are no more."""
        while self._answer is not None:
            piece = await self._read(self._answer)
            if self.broken:
                self.drop()
                return None
            if not piece:
                self._answer = None  # read to its end, it gave its connection back
                return self._scrubber.finish()
            if scrubbed := self._scrubber.feed(piece):
                return scrubbed
        return None

    def rest_at_hand(self) -> bytes | None:
        """Return the rest of the answer where all of it has arrived, or None. Waits for nothing."""
        answer = self._answer
        if answer is None or not answer.content.is_eof() or answer.content.exception() is not None:
            return None
        rest = answer.content.read_nowait(-1)
        if len(rest) > self._limits.size:
            return None
        self._answer = None
        return self._scrubber.feed(rest) + self._scrubber.finish()

    def drop(self) -> None:
        """Stop reading and close the connection."""
        answer, self._answer = self._answer, None
        self._scrubber.finish()
        if answer is not None:
            answer.close()

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """Return a piece, empty at the end. Faults are noted, not raised: their tracebacks reach the key."""
        cancelled: asyncio.CancelledError | None = None
        piece = b""
        try:
            async with asyncio.timeout_at(self._deadline()):
                piece = await answer.content.readany()
        except asyncio.CancelledError as error:
            cancelled = asyncio.CancelledError(*error.args)
        except Exception as error:  # noqa: BLE001  whatever it is, only its kind may leave
            note_failure(self._observation, error)
            self.broken = True
        if cancelled is not None:
            self.drop()
            raise cancelled
        self._size += len(piece)
        if self._size > self._limits.size:
            self._observation.failure = TOO_LARGE
            self.broken = True
        return piece

    def _deadline(self) -> float:
        return self._limits.deadline or asyncio.get_running_loop().time() + self._limits.pause
