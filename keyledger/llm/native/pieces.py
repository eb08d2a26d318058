"""The pieces of an answer that is passed on: read from the provider, looked at for its token counts, and handed on.

Promises: the call is counted once its answer has ended, or is dropped. A stream of events that ends before its proper
end raises an error there. The time that looking for token counts takes is part of the step that the response takes in
its turn: a tenant's own server may send what takes long.
"""

from time import perf_counter

from domain.credentials.resolution import Receipt
from domain.errors import ProviderUnavailableError
from keyledger.llm.answers.bounded_json import InvalidAnswerError
from keyledger.llm.answers.event_ends import EventEnds
from keyledger.llm.answers.told_usage import UsageReader
from keyledger.llm.metering import MeteredCall
from keyledger.llm.wire.answer_reader import AnswerReader
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.provider_errors import native_call_error


class AnswerPieces:
    """The rest of a response. The call ends when it does. Implements `domain.calls.native.Pieces`."""

    def __init__(
        self,
        reader: AnswerReader,
        observation: Observation,
        receipt: Receipt,
        metered: MeteredCall,
        usage: UsageReader | None = None,
        begun: bytes = b"",
    ) -> None:
        """usage: looks for token counts. begun: what has been read of the response, to be passed on first."""
        self._begun = begun
        self._reader = reader
        self._observation = observation
        self._receipt = receipt
        self._metered = metered
        self._usage = usage

    async def next(self) -> bytes | None:
        """Return the next piece, None at the end. Raises ProviderError."""
        if begun := self._begun:
            self._begun = b""
            return begun
        piece = await self._read()
        if piece is None:
            self._metered.finish(failed=self._reader.broken)
        if piece is None and self._reader.broken:
            raise native_call_error(self._observation, self._receipt) or ProviderUnavailableError(
                self._receipt.provider, "broken"
            )
        return piece

    async def _read(self) -> bytes | None:
        piece = await self._reader.next()
        if self._usage is not None:
            begun = perf_counter()
            if piece is not None:
                self._usage.feed(piece)
            elif not self._reader.broken:
                self._usage.finish()
            self._reader.took(perf_counter() - begun)
        return piece

    def drop(self) -> None:
        """Drop the rest."""
        self._metered.finish()
        self._reader.drop()


class EventPieces(AnswerPieces):
    """The rest of a response that is a stream of events. The call fails if that ends before its proper end."""

    def __init__(
        self,
        reader: AnswerReader,
        observation: Observation,
        receipt: Receipt,
        metered: MeteredCall,
        usage: UsageReader | None,
        ends: EventEnds,
    ) -> None:
        super().__init__(reader, observation, receipt, metered, usage)
        self._ends: EventEnds | None = ends

    async def next(self) -> bytes | None:
        """Return the next whole events, None at the end. Raises ProviderError."""
        while self._ends is not None:
            piece = await self._read()
            if piece is None and self._reader.broken:
                break
            try:
                if piece is not None:
                    passed = self._ends.feed(piece)
                else:
                    passed, self._ends = self._ends.finish(), None
            except InvalidAnswerError as error:
                self._observation.failure = error.reason
                self._metered.finish(failed=True)
                self.drop()
                raise ProviderUnavailableError(self._receipt.provider, error.reason) from None
            if passed:
                return passed
        return await super().next()
