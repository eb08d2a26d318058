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

from domain.event import CommandMeta, RecordEvent, envelope, record_stream
from domain.event_definition import API_ACTIVITY, READ, ActionDefinition, EventDefinition, Subject


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
class RequestRefused(RecordEvent):
    """A `Refusal`. `count`: how many alike, one after the other, this record stands for."""

    TOPIC: ClassVar[str] = "RequestRefused"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.REQUEST,
        ActionDefinition("request-refused", "requests are answered with an error", None),
        ocsf_class=API_ACTIVITY,
    )
    outcome: str
    method: str
    route: str
    status: int
    code: str
    count: int
    tenant_id: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRead(RecordEvent):
    """Somebody read the audit. view: what of it. query: the filter, None for all of it. `count`: how often, alike."""

    TOPIC: ClassVar[str] = "AuditRead"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.AUDIT, ActionDefinition("audit-read", "a caller reads the audit", READ), ocsf_class=API_ACTIVITY
    )
    view: str
    count: int
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditExported(RecordEvent):
    """Somebody took a copy of the audit away. format: of the copy. query: the filter, None for all of it."""

    TOPIC: ClassVar[str] = "AuditExported"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.AUDIT,
        ActionDefinition("audit-exported", "a caller takes a copy of the audit, or evidence", READ),
        ocsf_class=API_ACTIVITY,
    )
    format: str
    query: str | None = None


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
