"""An answer of a provider whose pieces arrive when a test says so."""

from collections.abc import Mapping

from keyledger.llm.wire.answer_content import AnswerContent
from keyledger.llm.wire.answer_parser import AnswerHead
from keyledger.llm.wire.answer_reader import AnswerReader, Limits
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.observation import Observation
from keyledger.llm.wire.provider_answer import ProviderAnswer
from keyledger.llm.wire.turns import Turns


class FedAnswer(ProviderAnswer):
    """An answer without a connection. closed: it was."""

    def __init__(self, *pieces: bytes, headers: Mapping[str, str], ended: bool = False) -> None:
        """headers: with underscores in place of hyphens. ended: all of it has arrived."""
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        super().__init__(AnswerHead(200, given, 0), AnswerContent(), self)
        self.closed = False
        for piece in pieces:
            self.content.feed(piece)
        if ended:
            self.content.end()

    def abandon(self, content: AnswerContent) -> None:
        """Note that the answer was closed."""
        self.closed = True


def reader_of(
    answer: FedAnswer,
    key: str,
    observation: Observation | None = None,
    turns: Turns | None = None,
    size: int = 2**24,
    names: tuple[str, ...] = (),
) -> AnswerReader:
    """Return a reader of this answer. size: the most bytes, inflated. names: whose the answer is."""
    limits = Limits(size, 60, None)
    turns_of_one = (turns or Turns()).of(*names)
    return AnswerReader(answer, observation or Observation(), KeyForms(key), limits, turns_of_one)
