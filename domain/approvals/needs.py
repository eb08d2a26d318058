"""Which events need a second person: the rule that the log applies to every append.

Promises: a pure function of the events and of what APPROVALS names. It looks at events, not at routes or commands, so
no way into the log avoids it. An event passes only together with the `ProposalApproved` of its own proposal.
What the service does of its own accord needs no one, such as repeating an erasure after a restore. Revoking an access
key and freezing a tenant take rights away and answer a leak, so they never wait.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum

from domain.access.access_key import AccessKeyChanged, AccessKeyCreated, AccessKeyEvent, AccessKeyRotated
from domain.access.roles import Role
from domain.approvals.proposal import ProposalApproved
from domain.credentials.credential import CredentialDeleted
from domain.errors import AccessError, ErrorCode
from domain.events.event import SERVICE, Event
from domain.operations.encryption_keys import EncryptionKeyRetired
from domain.tenants.tenant import TenantPolicyChanged, TenantThawed


class Approval(StrEnum):
    """The commands that APPROVALS can name.

    access-keys: creating, changing and rotating access keys of the role sysadmin.
    """

    DELETE = "delete"
    RETIRE = "retire"
    POLICY = "policy"
    ACCESS_KEYS = "access-keys"
    THAW = "thaw"


_BY_TYPE: dict[type[Event], Approval] = {
    CredentialDeleted: Approval.DELETE,
    EncryptionKeyRetired: Approval.RETIRE,
    TenantPolicyChanged: Approval.POLICY,
    TenantThawed: Approval.THAW,
    AccessKeyCreated: Approval.ACCESS_KEYS,
    AccessKeyChanged: Approval.ACCESS_KEYS,
    AccessKeyRotated: Approval.ACCESS_KEYS,
}
PROPOSABLE: dict[str, type[Event]] = {one.TOPIC: one for one in _BY_TYPE}
"""The events that proposals can be for, by topic. A stored topic outside it makes no event."""


def approval_of(event: Event) -> Approval | None:
    """Return the command that an event is the effect of; None where APPROVALS cannot name it."""
    found = _BY_TYPE.get(type(event))
    if isinstance(event, AccessKeyEvent) and event.for_role != Role.SYSADMIN:
        return None
    return None if event.role == SERVICE else found


def require_approved(events: Sequence[Event], named: Collection[Approval]) -> None:
    """Raise AccessError, with the events, if one needs an approval that is not appended with it.

    named: the commands in APPROVALS.
    """
    if not named:
        return
    approved = {event.proposal_id for event in events if isinstance(event, ProposalApproved)}
    waiting = [event for event in events if approval_of(event) in named and event.causation_id not in approved]
    if waiting:
        words = ", ".join(sorted({str(approval_of(event)) for event in waiting}))
        raise AccessError(
            ErrorCode.APPROVAL_REQUIRED,
            f"This needs a second person (APPROVALS names {words}), so nothing was changed. Send it to the REST API of"
            " a service, which makes a proposal of it; another person approves that.",
            decided=waiting,
        )


def names_of(text: str) -> frozenset[Approval]:
    """Return the commands that a list separated by commas names. Raises ValueError for another word."""
    return frozenset(Approval(word.strip()) for word in text.split(",") if word.strip())
