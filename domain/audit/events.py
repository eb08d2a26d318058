"""What the log keeps besides changes: refused requests, reads of the audit, providers' refusals, replays, policy.

They are events of the same log, so positions, append-only storage and proofs cover them too. A record that stands alone
has a stream of its own, named by its command id: recording never conflicts with anything, and a record that is sent
twice is stored once. What has a past (whether a provider takes a credential, what the policy is) has a stream for it.
Promises: nothing that a caller sent is kept but what was recognised: the template of a route, a valid tenant, a known
provider, a filter in canonical form.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol
from uuid import UUID, uuid5

from domain.event import CommandMeta, Event, envelope

_RECORDS = UUID("2f5c1c0a-6a0e-5b0d-8b1a-94d5b0a7e6c1")
_ACCEPTANCES = UUID("8d3f0b52-1d7e-5e0c-a2c9-5a6f7c2b9d14")
POLICY_STREAM = UUID("a4e9b7d0-3c58-5f21-9d46-7e10c5b8f233")
"""One stream for the policy of a ledger."""


class Outcome(StrEnum):
    """How what is told of ended. denied: the caller may not. failed: it was allowed and did not succeed."""

    SUCCESS = "success"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that was answered with an error, as far as the audit tells of it.

    outcome: denied or failed. route: the template of the path, or `unrouted`. status: of the answer. code: of the
    problem. tenant_id, provider: None where the request named none that is valid.
    """

    outcome: Outcome
    method: str
    route: str
    status: int
    code: str
    tenant_id: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused(Event):
    """A `Refusal`. `count`: how many alike, one after the other, this record stands for."""

    TOPIC: ClassVar[str] = "RequestRefused"
    outcome: str
    method: str
    route: str
    status: int
    code: str
    count: int
    tenant_id: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRead(Event):
    """Somebody read the audit. view: what of it. query: the filter, None for all of it. `count`: how often, alike."""

    TOPIC: ClassVar[str] = "AuditRead"
    view: str
    count: int
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditExported(Event):
    """Somebody took a copy of the audit away. format: of the copy. query: the filter, None for all of it."""

    TOPIC: ClassVar[str] = "AuditExported"
    format: str
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceEvent(Event):
    """Whether a provider takes a credential at one version."""

    tenant_id: str
    provider: str
    credential_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRejected(AcceptanceEvent):
    """The provider refused the credential as invalid, for the first time at this version."""

    TOPIC: ClassVar[str] = "CredentialRejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRecovered(AcceptanceEvent):
    """The provider took a credential again that it had refused at this version."""

    TOPIC: ClassVar[str] = "CredentialRecovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionReplayed(Event):
    """A view was computed anew from the log. replayed_to: position. result: `swapped` into place, or `kept` the old."""

    TOPIC: ClassVar[str] = "ProjectionReplayed"
    projection: str
    result: str
    replayed_to: int
    rows: int
    differences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged(Event):
    """A service started with another policy than the log knew. tenant_credentials: on or off. global_fallback: allow
    or deny."""

    TOPIC: ClassVar[str] = "PolicyChanged"
    tenant_credentials: str
    global_fallback: str


def record_stream(command_id: str) -> UUID:
    """Return the stream of the one record that a command makes."""
    return uuid5(_RECORDS, command_id)


def acceptance_stream(tenant_id: str, provider: str) -> UUID:
    """Return the stream that tells whether a provider takes the credential of a tenant."""
    return uuid5(_ACCEPTANCES, f"{tenant_id}/{provider}")


def request_refused(meta: CommandMeta, now: datetime, refusal: Refusal, count: int = 1) -> RequestRefused:
    """Return the record of refused requests."""
    return RequestRefused(
        **envelope(record_stream(meta.command_id), 1, meta, now),
        outcome=refusal.outcome.value,
        method=refusal.method,
        route=refusal.route,
        status=refusal.status,
        code=refusal.code,
        count=count,
        tenant_id=refusal.tenant_id,
        provider=refusal.provider,
    )


def audit_read(meta: CommandMeta, now: datetime, view: str, query: str | None, count: int = 1) -> AuditRead:
    """Return the record of reads of the audit."""
    return AuditRead(**envelope(record_stream(meta.command_id), 1, meta, now), view=view, query=query, count=count)


def audit_exported(meta: CommandMeta, now: datetime, form: str, query: str | None) -> AuditExported:
    """Return the record of an export."""
    return AuditExported(**envelope(record_stream(meta.command_id), 1, meta, now), format=form, query=query)


def projection_replayed(
    meta: CommandMeta, now: datetime, projection: str, *, swapped: bool, replayed_to: int, rows: int, differences: int
) -> ProjectionReplayed:
    """Return the record of a replay."""
    return ProjectionReplayed(
        **envelope(record_stream(meta.command_id), 1, meta, now),
        projection=projection,
        result="swapped" if swapped else "kept",
        replayed_to=replayed_to,
        rows=rows,
        differences=differences,
    )


def accept_or_reject(
    last: Event | None, tenant_id: str, provider: str, version: int, *, rejected: bool, meta: CommandMeta, now: datetime
) -> AcceptanceEvent | None:
    """Return the event that a provider's answer causes, or None when it tells nothing new.

    last: the newest event of the credential's acceptance stream. version: of the credential that was used.
    """
    known_version = last.credential_version if isinstance(last, AcceptanceEvent) else 0
    if version < known_version:
        return None  # a late answer to a call with an older key
    was_rejected = isinstance(last, CredentialRejected) and known_version == version
    if rejected == was_rejected:
        return None
    kind = CredentialRejected if rejected else CredentialRecovered
    stream = acceptance_stream(tenant_id, provider)
    place = envelope(stream, last.originator_version + 1 if last else 1, meta, now)
    return kind(**place, tenant_id=tenant_id, provider=provider, credential_version=version)


def change_policy(
    last: Event | None, *, tenant_credentials: bool, global_fallback: str, meta: CommandMeta, now: datetime
) -> PolicyChanged | None:
    """Return the event for a policy that differs from the last one the log knows, or None."""
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


class AuditRecorder(Protocol):
    """Records what happened besides changes. Alike things in a row are counted, so nobody can flood it."""

    def refused(self, meta: CommandMeta, refusal: Refusal) -> None:
        """Note a refused request. Never blocks; it is stored within about a second."""
        ...

    def read(self, meta: CommandMeta, view: str, query: str | None) -> None:
        """Record a read of the audit: the first of its kind at once, more are counted. Raises StoreUnavailableError."""
        ...

    def exported(self, meta: CommandMeta, form: str, query: str | None) -> None:
        """Record an export before it is given. Raises StoreUnavailableError."""
        ...

    def flush(self) -> None:
        """Store what was noted. Raises StoreUnavailableError; what could not be stored is kept."""
        ...
