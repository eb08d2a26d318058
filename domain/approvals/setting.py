"""APPROVALS as events on a stream of its own, so that auditors can see since when a command needs a second person.

A ledger whose services never had the setting has no such event.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.approvals.needs import Approval
from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_definition import UPDATE, ActionDefinition, EventDefinition, Subject

APPROVALS_STREAM = UUID("71d3c9f4-5a28-5e61-b0d7-2c86e4f9a135")
"""One stream for the setting of a ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalsChanged(Event):
    """A service started, or reloaded, with an APPROVALS that differs from the last one in the log.

    commands: those that need a second person, sorted, with spaces in between; None where none does.
    """

    TOPIC: ClassVar[str] = "ApprovalsChanged"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.POLICY,
        ActionDefinition(
            "approvals-changed",
            "a service starts or reloads with an APPROVALS that differs from the last one in the log",
            UPDATE,
        ),
    )
    commands: str | None = None

    def own_stream(self) -> UUID:
        """Return the stream of the setting."""
        return APPROVALS_STREAM


def change_approvals(
    last: Event | None, named: Collection[Approval], meta: CommandMeta, now: datetime
) -> ApprovalsChanged | None:
    """Return the event for a setting that differs from that of `last`, or None if it does not."""
    commands = " ".join(sorted(named)) or None
    if commands == (last.commands if isinstance(last, ApprovalsChanged) else None):
        return None
    version = last.originator_version + 1 if last is not None else 1
    return ApprovalsChanged(**envelope(APPROVALS_STREAM, version, meta, now), commands=commands)
