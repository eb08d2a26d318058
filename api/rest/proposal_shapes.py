"""The JSON of proposals."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, Field, StringConstraints

from api.front.paths import UUID_PATTERN
from api.rest.examples import TENANT
from api.rest.schemas import Moment
from domain.approvals.listed import KnownProposal
from domain.approvals.needs import Approval
from domain.credentials.secret import Secret
from domain.events.event import Clock

ProposalId = Annotated[
    Annotated[str, StringConstraints(pattern=UUID_PATTERN)],
    Path(description="The id of the proposal.", examples=["2f0f6f4a-3f0e-5b5a-9d0c-6a6f0a2f7c11"]),
]
ProposalState = Literal["open", "approved", "rejected", "lapsed"]

PROPOSAL_EXAMPLE: dict[str, Any] = {
    "proposal_id": "2f0f6f4a-3f0e-5b5a-9d0c-6a6f0a2f7c11",
    "state": "open",
    "version": 1,
    "command": "delete",
    "wants": "CredentialDeleted",
    "wants_version": 4,
    "tenant_id": TENANT,
    "provider": "openai",
    "key_id": None,
    "members": {},
    "proposed_by": "corporate#alice",
    "proposed_at": "2026-01-31T12:00:00Z",
    "reason": "the tenant left",
    "expires_at": "2026-02-01T12:00:00Z",
    "decided_by": None,
    "decided_at": None,
    "decision_reason": None,
    "lapsed_because": None,
}
APPROVED_EXAMPLE: dict[str, Any] = {
    **PROPOSAL_EXAMPLE,
    "state": "approved",
    "version": 2,
    "decided_by": "corporate#bob",
    "decided_at": "2026-01-31T13:00:00Z",
}
REJECTED_EXAMPLE: dict[str, Any] = {**APPROVED_EXAMPLE, "state": "rejected"}
PROPOSALS_EXAMPLE: dict[str, Any] = {"proposals": [PROPOSAL_EXAMPLE], "next": None}
_COLUMNS = ("tenant_id", "provider", "key_id")


class ProposalView(BaseModel):
    """A command that needs a second person.

    `wants` and `wants_version`: the event that an approval stores, and its version. `members`: what it says. Names and
    reasons are null where they can no longer be read.
    """

    proposal_id: str
    state: ProposalState
    version: int
    command: Approval
    wants: str
    wants_version: int
    tenant_id: str | None
    provider: str | None
    key_id: str | None
    members: dict[str, str | int | float]
    proposed_by: str | None
    proposed_at: Moment
    reason: str | None
    expires_at: Moment
    decided_by: str | None
    decided_at: Moment | None
    decision_reason: str | None
    lapsed_because: str | None = Field(description="`changed`, `expired`, `proposer-erased` or `proposer-revoked`.")


class ProposalPage(BaseModel):
    """Proposals in the order in which they were made. `next`: give it as `after` for the next page; null at the end."""

    proposals: list[ProposalView]
    next: int | None


class ProposedCommand(ProposalView):
    """The answer to a command that became a proposal.

    `token`: of an access key, shown only here; it works once another person approved. Null for other commands.
    """

    token: str | None


def view_of(known: KnownProposal, clock: Clock) -> ProposalView:
    """Return a proposal as it is shown."""
    state, now = known.proposal, clock()
    said: Any = state.state_at(now)
    shown = state.wanted.shown
    columns: dict[str, Any] = {name: shown.get(name) for name in _COLUMNS}
    return ProposalView(
        proposal_id=state.proposal_id,
        state=said,
        version=state.version,
        command=Approval(state.command),
        wants=state.wanted.topic,
        wants_version=state.wanted.version,
        **columns,
        members={name: value for name, value in shown.items() if name not in _COLUMNS},
        proposed_by=known.made.get("actor"),
        proposed_at=state.made_at,
        reason=known.made.get("reason"),
        expires_at=state.expires_at,
        decided_by=known.decided.get("actor"),
        decided_at=state.decided_at,
        decision_reason=known.decided.get("reason"),
        lapsed_because=state.lapsed_because(now),
    )


def proposed_view_of(known: KnownProposal, token: Secret | None, clock: Clock) -> ProposedCommand:
    """Return the answer to a command that became a proposal: one of the two places where a token becomes plain text."""
    revealed = token.reveal() if token is not None else None
    return ProposedCommand(**view_of(known, clock).model_dump(), token=revealed)
