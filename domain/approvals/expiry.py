"""Records that proposals lapsed because their time is over, although no one tried to decide them.

Promises: once `run` returns, each proposal whose time is over has an event that says so, one for all nodes; a proposal
that someone decides at that moment keeps that decision. An approval does not depend on it: it compares the time itself.
What is decided is not read again, except on the pages that have an open proposal or the newest one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from domain.approvals.listed import ProposalFilter, ProposalList
from domain.approvals.proposal import EXPIRED, lapse
from domain.approvals.service import state_after
from domain.errors import VersionConflictError
from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_log import StreamLog


class ProposalExpiry:
    """Ends the proposals of one ledger. meta: the service, as the author of what it records."""

    def __init__(self, log: StreamLog, listed: ProposalList, clock: Clock, meta: Callable[[], CommandMeta]) -> None:
        self._log = log
        self._listed = listed
        self._clock = clock
        self._meta = meta
        self._decided_until = 0

    def run(self) -> None:
        """Look at the proposals once. Raises StoreUnavailableError, CredentialIntegrityError."""
        after: int | None = self._decided_until
        settled = True
        while after is not None:
            if settled:
                self._decided_until = after
            found, after = self._listed.page(ProposalFilter(after=after))
            decided = [self._is_decided(events) for events in found]
            settled = settled and all(decided)

    def _is_decided(self, events: Sequence[Event]) -> bool:
        """Whether a proposal is decided, or lapses now, as far as is known here."""
        state, now = state_after(events[-1]), self._clock()
        if state.decided_by is not None:
            return True
        if now < state.expires_at:
            return False
        with suppress(VersionConflictError):  # it was decided meanwhile; the next run sees that
            self._log.append([lapse(state, EXPIRED, self._meta(), now)])
        return False
