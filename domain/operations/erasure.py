"""The erasure of people and tenants, as events on a stream of its own: who erased whom, as a token, and why.

Promises: no event names the person. The token is the one that stands for the person in the log, and means nothing once
the keys are gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_definition import DELETE, ActionDefinition, EventDefinition, Subject

ERASURE_STREAM = UUID("8a4b2f66-0d3e-5c57-9e0b-5f1d7c4e6a13")
"""One stream for all erasures of a ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureEvent(Event):
    """Keys of personal members were destroyed. keys: how many."""

    keys: int

    def own_stream(self) -> UUID:
        """Return the stream of all erasures."""
        return ERASURE_STREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonErased(ErasureEvent):
    """All keys of a person or tenant were destroyed.

    kind: actor, address or tenant. person: the token in the log. erased_tenant: the tenant's id; None for a person.
    """

    TOPIC: ClassVar[str] = "PersonErased"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PERSON,
        ActionDefinition("person-erased", "an operator erases a person or a tenant, or a restore undid that", DELETE),
    )
    kind: str
    person: str
    erased_tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataExpired(ErasureEvent):
    """The keys of people for all days before `before` were destroyed, as AUDIT_PERSONAL_DATA_DAYS asks for."""

    TOPIC: ClassVar[str] = "PersonalDataExpired"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PERSON,
        ActionDefinition("personal-data-expired", "personal data is older than AUDIT_PERSONAL_DATA_DAYS", DELETE),
    )
    before: str


def erased_in(events: Iterable[Event]) -> dict[str, PersonErased]:
    """Return the erasures in the stream by the person's token."""
    return {event.person: event for event in events if isinstance(event, PersonErased)}


def erase_person(
    last: Event | None, kind: str, person: str, keys: int, erased_tenant: str | None, meta: CommandMeta, now: datetime
) -> PersonErased:
    """Return the event of an erasure. last: the newest event of `ERASURE_STREAM`, or None."""
    members = envelope(ERASURE_STREAM, last.originator_version + 1 if last else 1, meta, now)
    return PersonErased(**members, kind=kind, person=person, keys=keys, erased_tenant=erased_tenant)


def expire(last: Event | None, before: date, keys: int, meta: CommandMeta, now: datetime) -> PersonalDataExpired:
    """Return the event of an expiry. last: the newest event of `ERASURE_STREAM`, or None."""
    members = envelope(ERASURE_STREAM, last.originator_version + 1 if last else 1, meta, now)
    return PersonalDataExpired(**members, keys=keys, before=before.isoformat())
