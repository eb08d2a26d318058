"""The right to send one request with one key to one origin, held by the task that makes the call.

Promises: a lease allows exactly one request, only to its origin, and only until it is closed; a closed lease holds no
key, even if references to it remain. Its observation holds no text from a provider but its name of the model.
Refuses: every other request; `Lease.refusal` returns the reason.
"""

from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

from domain.credentials.secret import Secret
from keyledger.llm.answers.bounds import Bounds
from keyledger.llm.requests.origin import KeyHeader, Origin
from keyledger.llm.wire.answer_reader import AnswerReader
from keyledger.llm.wire.observation import Observation


class Owner(NamedTuple):
    """The tenant of a call, and the credential that serves it. version: None for the global key."""

    tenant_id: str
    provider: str
    version: int | None


@dataclass(slots=True)
class Lease:
    """The right of one call to use a key.

    owner: of the connection that the call uses; no other owner's calls ever use that.
    checked: a tenant chose the endpoint, so its addresses are checked. self_hosted: by the rules for providers whose
    servers are the operator's or the tenant's own. streaming: the response arrives in pieces, each with its own time
    limit; otherwise the limit covers the whole. answer: the response once it has started. bounds: limits of the
    response. rejects_with: the statuses with which the provider says that the key is not valid.
    """

    origin: Origin
    header: KeyHeader
    secret: Secret | None = field(repr=False)
    _: KW_ONLY
    owner: Owner
    checked: bool
    self_hosted: bool = False
    streaming: bool
    rejects_with: frozenset[int] = frozenset({401})
    observation: Observation = field(default_factory=Observation)
    answer: AnswerReader | None = None
    bounds: Bounds = field(default_factory=Bounds)

    def refused(self, origin: Origin) -> str | None:
        """Return the reason code why a request to `origin` is not allowed, or None if it is."""
        if self.secret is None:
            return "lease-closed"
        if self.observation.sent:
            return "second-request"
        return None if origin == self.origin else "foreign-origin"

    def close(self) -> None:
        """Drop the key. The response can still be read."""
        self.secret = None

    def drop_answer(self) -> None:
        """Close the connection of a response that has not been read to its end."""
        if self.answer is not None:
            self.answer.drop()
