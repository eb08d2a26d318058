"""Reads the response of one call from the network, with the key removed and within limits.

Promises: what is read does not contain the key (see `scrubbing`); a response that is too long, too slow or cut off ends
early, with `broken` set and the reason in the observation. No key is held after the end or after `drop`.
"""

import asyncio
from dataclasses import dataclass

import aiohttp

from keyledger.llm.answers.bounded_json import TOO_LARGE
from keyledger.llm.wire.observation import Observation, note_failure
from keyledger.llm.wire.scrubbing import Scrubber


@dataclass(frozen=True, slots=True)
class Limits:
    """size: bytes. pause: the longest wait for a piece, in seconds. deadline: in the event loop's time, or None."""

    size: int
    pause: float
    deadline: float | None


class AnswerReader:
    """One response being read."""

    def __init__(
        self, answer: aiohttp.ClientResponse, observation: Observation, scrubber: Scrubber, limits: Limits
    ) -> None:
        """answer: with its head received. observation: receives the reason when the response breaks off."""
        self._answer: aiohttp.ClientResponse | None = answer
        self._observation = observation
        self._scrubber = scrubber
        self._limits = limits
        self._size = 0
        self.broken = False

    async def next(self) -> bytes | None:
        """Return the next piece, or None at the end or where the response broke off."""
        while self._answer is not None:
            piece = await self._read(self._answer)
            if self.broken:
                self.drop()
                return None
            if not piece:
                self._answer = None  # at its end, it has released its connection
                return self._scrubber.finish()
            if scrubbed := self._scrubber.feed(piece):
                return scrubbed
        return None

    def rest_at_hand(self) -> bytes | None:
        """Return the rest of the response if all of it has arrived, else None. Does not wait."""
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
        """Return a piece, empty at the end. Errors are noted, not raised, because their tracebacks reach the key."""
        cancelled: asyncio.CancelledError | None = None
        piece = b""
        try:
            async with asyncio.timeout_at(self._deadline()):
                piece = await answer.content.readany()
        except asyncio.CancelledError as error:
            cancelled = asyncio.CancelledError(*error.args)
        except Exception as error:  # noqa: BLE001  only the kind of the error may leave
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
