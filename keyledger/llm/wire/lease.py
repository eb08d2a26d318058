"""The right to send one request with one key to one origin, held by the task that makes the call.

Promises: a lease serves exactly one request, only to its origin, only until it is closed; then it holds no key, whoever
still has a reference. What the wire saw is noted in `seen`, in words of ours: no text of a provider is kept.
Refuses: everything else, by saying why (`Lease.refusal`).
"""

from dataclasses import KW_ONLY, dataclass, field

from domain.credentials.secret import Secret
from keyledger.llm.answers.bounds import Bounds
from keyledger.llm.answers.checking import SetAside
from keyledger.llm.requests.origin import KeyHeader, Origin
from keyledger.llm.wire.answer_reader import AnswerReader
from keyledger.llm.wire.observation import Observation


@dataclass(slots=True)
class Lease:
    """One call's right to a key.

    checked: a tenant chose the address, so what it resolves to is checked. self_hosted: as an address of a provider
    whose servers are one's own. streaming: the answer comes in pieces, each
    with its own time limit; otherwise the limit covers the whole. bounds: of the answer. aside: what of it goes
    past the libraries.
    """

    origin: Origin
    header: KeyHeader
    secret: Secret | None = field(repr=False)
    _: KW_ONLY
    checked: bool
    self_hosted: bool = False
    streaming: bool
    observation: Observation = field(default_factory=Observation)
    answer: AnswerReader | None = None
    bounds: Bounds = field(default_factory=Bounds)
    set_aside: SetAside = field(default_factory=SetAside)

    def refusal(self, origin: Origin) -> str | None:
        """Return why a request to `origin` must not be sent under this lease, as a reason code, or None."""
        if self.secret is None:
            return "lease-closed"
        if self.observation.sent:
            return "second-request"
        return None if origin == self.origin else "foreign-origin"

    def close(self) -> None:
        """Let go of the key. An answer may still be read."""
        self.secret = None

    def drop_answer(self) -> None:
        """Close the connection of an answer that is not read to its end. Does nothing else."""
        if self.answer is not None:
            self.answer.drop()
