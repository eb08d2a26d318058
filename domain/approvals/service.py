"""Proposals: made of commands that need a second person, approved, rejected, shown.

Promises: a proposal is carried out once, at the version it was made for: the approval and its effect are one append.
After a lost answer or a crash there are both or neither, and of two nodes that approve at once one does. A command that
is repeated with its id finds its proposal. No one's approval counts for a proposal of their own (`persons`).
A proposal that can no longer be carried out lapses, and that is recorded with the reason. What may pass, such as a
frozen tenant or a running rotation, is an error, and the proposal stays open.
APPROVALS is not asked here: a proposal that was made needs its second person, whatever the settings say by then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from domain.access.append_tries import AppendTries
from domain.access.stream_commands import StreamCommand, StreamCommands, require_precondition
from domain.approvals.listed import KnownProposal, ProposalFilter, ProposalList, ProposalRules
from domain.approvals.needs import PROPOSABLE, approval_of
from domain.approvals.persons import Persons
from domain.approvals.proposal import (
    CHANGED,
    EXPIRED,
    PROPOSER_ERASED,
    PROPOSER_REVOKED,
    Proposal,
    ProposalEvent,
    ProposalLapsed,
    approve,
    evolve,
    lapse,
    proposal_decided,
    proposal_lapsed,
    proposal_not_found,
    proposal_stream,
    propose,
    reject,
)
from domain.credentials.command_batch import command_reused
from domain.credentials.commands import Precondition
from domain.credentials.key_shapes import holds_key
from domain.credentials.recording import KEPT_CLEAR
from domain.errors import (
    AccessError,
    CredentialIntegrityError,
    ErrorCode,
    InvalidField,
    InvalidRequestError,
)
from domain.events.event import Clock, CommandMeta, Event
from domain.events.event_log import StreamLog

_REMEDY = "It needs another person: sign in as someone else, or use a key that none of you handed to the other."


class Proposals:
    """Carries out commands and reads. recheck: raises what an event must not follow now, besides its own version."""

    def __init__(
        self,
        log: StreamLog,
        listed: ProposalList,
        clock: Clock,
        rules: ProposalRules,
        recheck: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._log = log
        self._listed = listed
        self._clock = clock
        self._rules = rules
        self._recheck = recheck
        self._persons = Persons(log, listed)
        self._commands = StreamCommands(log, clock, ProposalEvent, evolve, "proposal")

    def propose(self, held: AccessError) -> KnownProposal:
        """Store a proposal of what a command decided, or return the one that the same command made.

        held: the error of that command. Raises it where it decided on several things; InvalidRequestError,
        StoreUnavailableError, CredentialIntegrityError.
        """
        decided: Event = held.decided[0]
        command = approval_of(decided)
        if len(held.decided) != 1 or command is None:
            raise held
        now = self._clock()
        made = propose(decided, command.value, _meta_of(decided), now, now + self._rules.span)
        if holds_key(made.members):
            raise InvalidRequestError([InvalidField("the command", KEPT_CLEAR)])
        wanted = evolve(made).wanted

        def require(state: Proposal | None) -> None:
            if state is not None and (state.wanted.topic, state.wanted.shown) != (wanted.topic, wanted.shown):
                raise command_reused()

        self._commands.carry_out(
            StreamCommand(
                proposal_stream(made.proposal_id),
                lambda state, now: made if state is None else None,
                lambda earlier: True,
                _meta_of(decided),
                require,
            )
        )
        return self.show(made.proposal_id)

    def show(self, proposal_id: str) -> KnownProposal:
        """Return a proposal. Raises NotFoundError, StoreUnavailableError, CredentialIntegrityError."""
        return self._known(self._events(proposal_id))

    def page(self, wanted: ProposalFilter) -> tuple[Sequence[KnownProposal], int | None]:
        """Return proposals in the order in which they were made, and the position to continue after.

        A page may be short, even empty, before the end. Raises as `show` does.
        """
        found, following = self._listed.page(wanted)
        now = self._clock()
        states = [(events, state_after(events[-1])) for events in found]
        fitting = [
            (events, state)
            for events, state in states
            if wanted.state in {None, state.state_at(now)} and wanted.command in {None, state.command}
        ]
        opened = iter(self._listed.opened([event for events, _ in fitting for event in events]))
        return [
            KnownProposal(state, next(opened), next(opened) if len(events) > 1 else {}) for events, state in fitting
        ], following

    def reject(self, proposal_id: str, meta: CommandMeta, precondition: Precondition) -> KnownProposal:
        """End a proposal, also as its proposer. Raises NotFoundError, ConflictError, StoreUnavailableError."""
        return self._decide(
            proposal_id, meta, precondition, lambda state, made: [reject(state, meta, self._clock())], approves=False
        )

    def approve(self, proposal_id: str, meta: CommandMeta, precondition: Precondition) -> KnownProposal:
        """Approve a proposal and carry it out.

        Raises NotFoundError, AccessError for a proposal of the same person, ConflictError where it was decided or has
        lapsed, what `recheck` raises, StoreUnavailableError, CredentialIntegrityError.
        """
        return self._decide(
            proposal_id, meta, precondition, lambda state, made: self._approved(state, made, meta), approves=True
        )

    def _decide(
        self,
        proposal_id: str,
        meta: CommandMeta,
        precondition: Precondition,
        decide: Callable[[Proposal, Event], Sequence[Event]],
        *,
        approves: bool,
    ) -> KnownProposal:
        tries = AppendTries()
        while True:
            events = self._events(proposal_id)
            state = self._state(events)
            if state.decided_by is not None:
                return self._decided_before(state, events, meta, approves=approves)
            require_precondition(precondition, state.version, known=True, what="proposal")
            next_events = decide(state, events[0])
            if tries.appended(partial(self._log.append, next_events)):
                if isinstance(last := next_events[0], ProposalLapsed):
                    raise proposal_lapsed(last.because)
                return self.show(proposal_id)

    def _decided_before(
        self, state: Proposal, events: Sequence[Event], meta: CommandMeta, *, approves: bool
    ) -> KnownProposal:
        self._log.confirm([events[-1]])
        if state.decided_by != meta.command_id or state.because is not None:
            raise proposal_decided(state, self._clock())
        if state.approved != approves:
            raise command_reused()
        return self._known(events)

    def _approved(self, state: Proposal, made: Event, meta: CommandMeta) -> Sequence[Event]:
        now, stream = self._clock(), UUID(state.stream)
        if now >= state.expires_at:
            return [lapse(state, EXPIRED, meta, now)]
        (opened,) = self._listed.opened([made])
        proposer = opened.get("actor")
        if proposer is None:
            return [lapse(state, PROPOSER_ERASED, meta, now)]
        if self._persons.behind(meta.actor).may_be(self._persons.behind(proposer)):
            raise AccessError(ErrorCode.OWN_PROPOSAL, f"No one approves a proposal of their own. {_REMEDY}")
        if self._persons.was_revoked_since(proposer, made.timestamp):
            return [lapse(state, PROPOSER_REVOKED, meta, now)]
        last = self._log.last(stream)
        if last is not None and self._log.disowns(last):
            raise CredentialIntegrityError("event-code-under-a-key-that-is-not-configured", what="proposal's subject")
        if (last.originator_version if last is not None else 0) != state.wanted.version - 1:
            return [lapse(state, CHANGED, meta, now)]
        effect = self._effect(state, made, opened, meta)
        self._recheck(effect)
        approved = approve(state, replace(meta, causation_id=state.proposal_id), now)
        return [approved, effect]

    def _effect(self, state: Proposal, made: Event, opened: Mapping[str, str], meta: CommandMeta) -> Event:
        """Return the event that is asked for, as its proposer's command."""
        kind = PROPOSABLE.get(state.wanted.topic)
        by = replace(
            _meta_of(made),
            actor=opened["actor"],
            request_id=meta.request_id,
            client_address=opened.get("client_address"),
            reason=opened.get("reason"),
            causation_id=state.proposal_id,
        )
        try:
            if kind is None:
                raise TypeError
            event = state.wanted.event(kind, UUID(state.stream), by, self._clock())
            if event.own_stream() != event.originator_id:
                raise ValueError
        except (TypeError, ValueError):
            raise CredentialIntegrityError("event-malformed", what="proposal") from None
        return event

    def _events(self, proposal_id: str) -> Sequence[Event]:
        events = self._log.stream(proposal_stream(proposal_id))
        if not events:
            raise proposal_not_found()
        return events

    def _state(self, events: Sequence[Event]) -> Proposal:
        """Return the state after the newest event, which a holder of the ledger's keys wrote."""
        if not self._log.proves(events[-1]):
            raise CredentialIntegrityError("event-code-not-proved", what="proposal")
        return state_after(events[-1])

    def _known(self, events: Sequence[Event]) -> KnownProposal:
        state = self._state(events)
        made, *decided = self._listed.opened([events[0], *events[1:][-1:]])
        return KnownProposal(state, made, decided[0] if decided else {})


def state_after(last: Event) -> Proposal:
    """Return the state of a proposal after its newest event. Raises CredentialIntegrityError."""
    if not isinstance(last, ProposalEvent):
        raise CredentialIntegrityError("stream-of-something-else", what="proposal")
    try:
        return evolve(last)
    except (ValueError, TypeError):
        raise CredentialIntegrityError("event-malformed", what="proposal") from None


def _meta_of(event: Event) -> CommandMeta:
    """Return the command that an event followed from."""
    return CommandMeta(
        event.actor,
        event.request_id,
        event.command_id,
        role=event.role,
        source=event.source,
        client_address=event.client_address,
        reason=event.reason,
    )
