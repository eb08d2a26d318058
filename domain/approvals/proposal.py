"""A proposal as a decider: its state, its events, and the functions that connect them with commands.

Promises: a proposal holds the one event that it asks for, without a caller's members, and the version that this event
follows; nothing else can be carried out in its name. Every event carries the whole state. A proposal is decided once:
approved, rejected or lapsed. It holds no key: of the token of an access key only the digest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, TypedDict
from uuid import UUID, uuid5

from domain.errors import ConflictError, ErrorCode, NotFoundError
from domain.events.event import CommandMeta, Event, EventEnvelope, envelope, time_text
from domain.events.event_definition import CREATE, OTHER, ActionDefinition, EventDefinition, OcsfActivity, Subject

_STREAMS = UUID("9e2c4b16-7d58-5f0a-a3c1-84d6f1b0e725")
_IDS = UUID("3b8f5d27-10ce-5a94-b6e2-c7a9540d1f83")
_DIGESTS = ("token_sha256", "previous_sha256")
_COLUMNS = ("tenant_id", "provider", "key_id")
_COMMON = frozenset(one.name for one in fields(Event))
EXPIRED = "expired"
CHANGED = "changed"
PROPOSER_ERASED = "proposer-erased"
PROPOSER_REVOKED = "proposer-revoked"
"""The reasons of a lapse: its time is over; what it is about is at another version; the name of the proposer can no
longer be read; the access key that proposed was revoked."""


def proposal_stream(proposal_id: str) -> UUID:
    """Return the stream of a proposal."""
    return uuid5(_STREAMS, proposal_id)


def proposal_id_of(event: Event) -> str:
    """Return the id of the proposal for a decided event: one for each command id on a stream.

    The caller is not part of it: the id is in clear, and would confirm the name of a person who was erased.
    """
    return str(uuid5(_IDS, f"{event.originator_id}/{event.command_id}"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The event that a proposal asks for, without the members that every event has.

    topic: its name. version: of its stream, after it. members: by name; without a value are left out.
    """

    topic: str
    version: int
    members: Mapping[str, str | int | float]

    @classmethod
    def of(cls, event: Event) -> "Wanted":
        """Return what a decided event says."""
        own = {one.name: getattr(event, one.name) for one in fields(event) if one.name not in _COMMON}
        present = {name: value for name, value in own.items() if value is not None}
        return cls(event.TOPIC, event.originator_version, present)

    @property
    def shown(self) -> Mapping[str, str | int | float]:
        """The members that readers see."""
        return {name: value for name, value in self.members.items() if name not in _DIGESTS}

    def event(self, kind: type[Event], stream: UUID, meta: CommandMeta, now: datetime) -> Event:
        """Return the event. kind: its class. Raises TypeError for members that it does not have."""
        made: Any = kind
        event: Event = made(**envelope(stream, self.version, meta, now), **self.members)
        return event


@dataclass(frozen=True, slots=True)
class Proposal:
    """The state of a proposal at one version. command: in the words of APPROVALS. stream: of what it is about.

    because: why it lapsed. decided_by: the command id of its decision. decided_at: None while it is open.
    """

    proposal_id: str
    version: int
    command: str
    stream: str
    wanted: Wanted
    made_at: datetime
    expires_at: datetime
    approved: bool = False
    rejected: bool = False
    because: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = field(default=None, compare=False)

    def state_at(self, now: datetime) -> str:
        """Return `open`, `approved`, `rejected` or `lapsed`. One whose time is over has lapsed, recorded or not."""
        if self.approved:
            return "approved"
        if self.rejected:
            return "rejected"
        return "lapsed" if self.because is not None or now >= self.expires_at else "open"

    def lapsed_because(self, now: datetime) -> str | None:
        """Return why it lapsed; None where it did not."""
        return (self.because or EXPIRED) if self.state_at(now) == "lapsed" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalEvent(Event):
    """An event of a proposal, with its whole state.

    command: the word of APPROVALS. wants: the topic of the event that it asks for. wants_version: the version of that
    event. about: the stream of that event. members: other members of that event, a JSON object sorted by name.
    token_sha256, previous_sha256: members of that event which readers do not see. made_at, expires_at: times.
    """

    proposal_id: str
    command: str
    wants: str
    wants_version: int
    about: str
    tenant_id: str | None = None
    provider: str | None = None
    key_id: str | None = None
    members: str
    token_sha256: str | None = None
    previous_sha256: str | None = None
    made_at: str
    expires_at: str

    def own_stream(self) -> UUID:
        """Return the stream of the proposal."""
        return proposal_stream(self.proposal_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalMade(ProposalEvent):
    """A command that needs a second person was proposed. Its caller proposes it."""

    TOPIC: ClassVar[str] = "ProposalMade"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PROPOSAL,
        ActionDefinition("proposal-made", "a command is sent that needs a second person", CREATE),
        unseen=_DIGESTS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalApproved(ProposalEvent):
    """Another person approved a proposal. The event that it asks for is stored with this one, or neither is."""

    TOPIC: ClassVar[str] = "ProposalApproved"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PROPOSAL,
        ActionDefinition(
            "proposal-approved",
            "another person approves a proposal, which carries it out",
            OcsfActivity(OTHER, "Approve"),
        ),
        unseen=_DIGESTS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRejected(ProposalEvent):
    """A proposal was rejected, or withdrawn by the person who made it."""

    TOPIC: ClassVar[str] = "ProposalRejected"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PROPOSAL,
        ActionDefinition("proposal-rejected", "a proposal is rejected or withdrawn", OcsfActivity(OTHER, "Reject")),
        unseen=_DIGESTS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalLapsed(ProposalEvent):
    """A proposal could not be carried out any more. because: a code."""

    TOPIC: ClassVar[str] = "ProposalLapsed"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PROPOSAL,
        ActionDefinition(
            "proposal-lapsed",
            "the time of a proposal is over, or someone tries to approve one that can no longer be carried out",
            OcsfActivity(OTHER, "Lapse"),
        ),
        unseen=_DIGESTS,
    )
    because: str


def evolve(event: ProposalEvent) -> Proposal:
    """Return the state after an event. Raises ValueError for a member in another spelling than ours."""
    said = {name: getattr(event, name) for name in (*_COLUMNS, *_DIGESTS)}
    members = json.loads(event.members) | {name: value for name, value in said.items() if value is not None}
    open_still = isinstance(event, ProposalMade)
    return Proposal(
        event.proposal_id,
        event.originator_version,
        event.command,
        event.about,
        Wanted(event.wants, event.wants_version, members),
        datetime.fromisoformat(event.made_at),
        datetime.fromisoformat(event.expires_at),
        approved=isinstance(event, ProposalApproved),
        rejected=isinstance(event, ProposalRejected),
        because=event.because if isinstance(event, ProposalLapsed) else None,
        decided_at=None if open_still else event.timestamp,
        decided_by=None if open_still else event.command_id,
    )


def propose(decided: Event, command: str, meta: CommandMeta, now: datetime, expires_at: datetime) -> ProposalMade:
    """Return the event that proposes what was decided. command: the word of APPROVALS."""
    proposal_id, wanted = proposal_id_of(decided), Wanted.of(decided)
    state = Proposal(proposal_id, 0, command, str(decided.originator_id), wanted, now, expires_at)
    return ProposalMade(**_envelope(state, meta, now), **_members(state))


def approve(state: Proposal, meta: CommandMeta, now: datetime) -> ProposalApproved:
    """Return the event that approves an open proposal."""
    return ProposalApproved(**_envelope(state, meta, now), **_members(state))


def reject(state: Proposal, meta: CommandMeta, now: datetime) -> ProposalRejected:
    """Return the event that rejects an open proposal."""
    return ProposalRejected(**_envelope(state, meta, now), **_members(state))


def lapse(state: Proposal, because: str, meta: CommandMeta, now: datetime) -> ProposalLapsed:
    """Return the event that ends an open proposal which cannot be carried out. because: a code."""
    return ProposalLapsed(**_envelope(state, meta, now), **_members(state), because=because)


def proposal_not_found() -> NotFoundError:
    """Return the error for an id that no proposal has."""
    return NotFoundError(ErrorCode.PROPOSAL_NOT_FOUND, "There is no proposal with this id.")


def proposal_decided(state: Proposal, now: datetime) -> ConflictError:
    """Return the error for a proposal that is no longer open."""
    said = state.state_at(now)
    if said == "lapsed":
        return proposal_lapsed(state.lapsed_because(now) or "")
    return ConflictError(ErrorCode.PROPOSAL_DECIDED, f"This proposal is {said} already. Nothing was changed.")


def proposal_lapsed(because: str) -> ConflictError:
    """Return the error for a proposal that can no longer be carried out. because: a code."""
    said = f"This proposal has lapsed ({because}), so it was not carried out. Send the command again to propose it."
    return ConflictError(ErrorCode.PROPOSAL_LAPSED, said)


def _envelope(before: Proposal, meta: CommandMeta, now: datetime) -> EventEnvelope:
    return envelope(proposal_stream(before.proposal_id), before.version + 1, meta, now)


class _Members(TypedDict):
    proposal_id: str
    command: str
    wants: str
    wants_version: int
    about: str
    tenant_id: str | None
    provider: str | None
    key_id: str | None
    members: str
    token_sha256: str | None
    previous_sha256: str | None
    made_at: str
    expires_at: str


def _members(state: Proposal) -> _Members:
    all_of: Mapping[str, Any] = state.wanted.members
    others = {name: value for name, value in all_of.items() if name not in (*_COLUMNS, *_DIGESTS)}
    return {
        "proposal_id": state.proposal_id,
        "command": state.command,
        "wants": state.wanted.topic,
        "wants_version": state.wanted.version,
        "about": state.stream,
        "tenant_id": all_of.get("tenant_id"),
        "provider": all_of.get("provider"),
        "key_id": all_of.get("key_id"),
        "members": json.dumps(others, sort_keys=True, ensure_ascii=False),
        "token_sha256": all_of.get("token_sha256"),
        "previous_sha256": all_of.get("previous_sha256"),
        "made_at": time_text(state.made_at),
        "expires_at": time_text(state.expires_at),
    }
