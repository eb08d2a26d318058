"""Whether a provider accepts a credential, as events on a stream of each credential's own.

Promises: only changes are events: the first rejection of a version, and the first success after it. Repeats, and late
answers to calls with an older version, are not. A provider that changes its mind again and again causes one rejection
and one recovery in `AGAIN_AFTER`, so a tenant's own endpoint cannot fill the log.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid5

from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_definition import OTHER, ActionDefinition, EventDefinition, OcsfActivity, Subject

AGAIN_AFTER = timedelta(minutes=10)
"""The shortest time between a recovery and the next rejection of the same version."""
_ACCEPTANCES = UUID("8d3f0b52-1d7e-5e0c-a2c9-5a6f7c2b9d14")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceEvent(Event):
    """An event about whether a provider accepts a version of a credential."""

    tenant_id: str
    provider: str
    credential_version: int

    def own_stream(self) -> UUID:
        """Return the stream of what the provider answered."""
        return acceptance_stream(self.tenant_id, self.provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRejected(AcceptanceEvent):
    """The provider rejected this version of the credential as invalid, for the first time."""

    TOPIC: ClassVar[str] = "CredentialRejected"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.CREDENTIAL,
        ActionDefinition(
            "credential-rejected",
            "the provider rejects a version of a credential for the first time",
            OcsfActivity(OTHER, "Rejected by the provider"),
            "refused by the provider",
        ),
        failed=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRecovered(AcceptanceEvent):
    """The provider accepted this version of the credential again after it had rejected it."""

    TOPIC: ClassVar[str] = "CredentialRecovered"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.CREDENTIAL,
        ActionDefinition(
            "credential-recovered",
            "the provider accepts a version again that it had rejected",
            OcsfActivity(OTHER, "Taken by the provider again"),
            "taken by the provider again",
        ),
    )


def acceptance_stream(tenant_id: str, provider: str) -> UUID:
    """Return the stream of the events about whether a provider accepts a tenant's credential."""
    return uuid5(_ACCEPTANCES, f"{tenant_id}/{provider}")


def rests(last: Event | None, version: int, now: datetime) -> bool:
    """Whether a rejection has to wait, because the last event is a recent recovery of the same version."""
    if not isinstance(last, CredentialRecovered) or last.credential_version != version:
        return False
    return timedelta() <= now - last.timestamp < AGAIN_AFTER


def accept_or_reject(
    last: Event | None, tenant_id: str, provider: str, version: int, *, rejected: bool, meta: CommandMeta, now: datetime
) -> AcceptanceEvent | None:
    """Return the event that a provider's answer causes, or None if it changes nothing.

    last: the newest event of the credential's acceptance stream. version: of the credential that was used.
    """
    known_version = last.credential_version if isinstance(last, AcceptanceEvent) else 0
    if version < known_version:
        return None  # a late answer to a call with an older version
    was_rejected = isinstance(last, CredentialRejected) and known_version == version
    if rejected == was_rejected:
        return None
    kind = CredentialRejected if rejected else CredentialRecovered
    stream = acceptance_stream(tenant_id, provider)
    place = envelope(stream, last.originator_version + 1 if last else 1, meta, now)
    return kind(**place, tenant_id=tenant_id, provider=provider, credential_version=version)
