"""The credential policy of a ledger, as events on a stream of its own, so that auditors can see its changes."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_definition import UPDATE, ActionDefinition, EventDefinition, Subject

POLICY_STREAM = UUID("a4e9b7d0-3c58-5f21-9d46-7e10c5b8f233")
"""One stream for the policy of a ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged(Event):
    """A service started with a policy that differs from the last one in the log.

    tenant_credentials: `on` or `off`. global_fallback: `allow` or `deny`.
    """

    TOPIC: ClassVar[str] = "PolicyChanged"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.POLICY,
        ActionDefinition(
            "policy-changed",
            "a service starts with a credential policy that differs from the last one in the log",
            UPDATE,
        ),
    )
    tenant_credentials: str
    global_fallback: str

    def own_stream(self) -> UUID:
        """Return the stream of the policy."""
        return POLICY_STREAM


def change_policy(
    last: Event | None, *, tenant_credentials: bool, global_fallback: str, meta: CommandMeta, now: datetime
) -> PolicyChanged | None:
    """Return the event for a policy that differs from that of `last`, or None if it does not."""
    switched = "on" if tenant_credentials else "off"
    if isinstance(last, PolicyChanged) and (last.tenant_credentials, last.global_fallback) == (
        switched,
        global_fallback,
    ):
        return None
    return PolicyChanged(
        **envelope(POLICY_STREAM, last.originator_version + 1 if last else 1, meta, now),
        tenant_credentials=switched,
        global_fallback=global_fallback,
    )
