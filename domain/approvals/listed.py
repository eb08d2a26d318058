"""Proposals as they are asked for and shown, and the operator's rules for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from domain.approvals.needs import Approval
from domain.approvals.persons import Opening
from domain.approvals.proposal import Proposal
from domain.events.event import Event

DEFAULT_SPAN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ProposalRules:
    """The operator's rules. span: how long a proposal is open. named: the commands that APPROVALS names."""

    named: frozenset[Approval] = frozenset()
    span: timedelta = DEFAULT_SPAN


@dataclass(frozen=True, slots=True)
class ProposalFilter:
    """The proposals to list. after: a position of the log. state: as `Proposal.state_at` says it; None for all."""

    after: int = 0
    limit: int = 100
    tenant_id: str | None = None
    command: Approval | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class KnownProposal:
    """A proposal as it is shown. made, decided: what can be read of who did that and why, by member."""

    proposal: Proposal
    made: Mapping[str, str]
    decided: Mapping[str, str]


class ProposalList(Opening, Protocol):
    """The proposals of a ledger. Never behind the log. Raises StoreUnavailableError, CredentialIntegrityError."""

    def page(self, wanted: ProposalFilter) -> tuple[Sequence[Sequence[Event]], int | None]:
        """Return proposals in the order in which they were made, whatever their state.

        Each is its first event, then its newest one if that is another; a holder of the ledger's keys wrote them. The
        second part is the position to continue after; None at the end.
        """
        ...
