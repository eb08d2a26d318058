"""Records of requests: refused requests, and reads and exports of the audit.

They are events of the same log as changes, so positions, append-only storage and proofs cover them too.
Promises: of what a caller sent, a record holds only what was recognised: the template of a route, a valid tenant, a
known provider, a filter in canonical form.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from domain.events.event import CommandMeta, RecordEvent, envelope, record_stream
from domain.events.event_definition import (
    API_ACTIVITY,
    AUTHENTICATION,
    LOGON,
    READ,
    ActionDefinition,
    EventDefinition,
    Subject,
)

ANONYMOUS = "anonymous"
"""The actor and the role of requests without a valid key."""
SEVERAL = "several"
"""The value of a member in which the requests that a record counts differ."""


class Outcome(StrEnum):
    """The outcome of an action. denied: the caller may not. failed: it was allowed and did not succeed."""

    SUCCESS = "success"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRequest:
    """The facts about a refused request that the audit records.

    outcome: denied or failed. route: the template of the path, or `unrouted`. status: the HTTP status of the answer.
    code: of the problem. tenant_id, provider: None if the request named no valid one.
    """

    outcome: Outcome
    method: str
    route: str
    status: int
    code: str
    tenant_id: str | None = None
    provider: str | None = None

    def merged(self, other: "RefusedRequest") -> "RefusedRequest":
        """Return what both have in common. Their outcome and status are the same."""
        if self == other:
            return self
        return replace(
            self,
            method=_common(self.method, other.method),
            route=_common(self.route, other.route),
            code=_common(self.code, other.code),
            tenant_id=self.tenant_id if self.tenant_id == other.tenant_id else None,
            provider=self.provider if self.provider == other.provider else None,
        )

    def event(self, meta: CommandMeta, now: datetime, count: int) -> "RequestRefused":
        """Return the record of `count` such requests."""
        return request_refused(meta, now, self, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOfAudit:
    """A read of the audit. view: the part read. query: the filter in canonical form; None for no filter."""

    view: str
    query: str | None

    def merged(self, other: "ReadOfAudit") -> "ReadOfAudit":
        """Return what both have in common. Their view is the same."""
        return self if self == other else replace(self, query=SEVERAL)

    def event(self, meta: CommandMeta, now: datetime, count: int) -> "AuditRead":
        """Return the record of `count` such reads."""
        return audit_read(meta, now, self.view, self.query, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockout:
    """An address sent too many wrong keys. seconds: for how long its failed requests are now answered 429."""

    seconds: float

    def merged(self, other: "Lockout") -> "Lockout":
        """Return the later one."""
        return other

    def event(self, meta: CommandMeta, now: datetime, count: int) -> "AddressLockedOut":
        """Return the record of `count` such lock-outs."""
        return address_locked_out(meta, now, self, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused(RecordEvent):
    """Refused requests. count: the number of requests that this record stands for; `several` where they differ."""

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
class AddressLockedOut(RecordEvent):
    """An address was locked out. count: the number of lock-outs that this record stands for."""

    TOPIC: ClassVar[str] = "AddressLockedOut"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.REQUEST,
        ActionDefinition("address-locked-out", "an address sends too many wrong keys", LOGON),
        ocsf_class=AUTHENTICATION,
    )
    outcome: str
    seconds: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRead(RecordEvent):
    """A caller read the audit. view: the part read. query: the filter; None for no filter. count: of reads.

    Where the reads that it counts differ, the query is `several`.
    """

    TOPIC: ClassVar[str] = "AuditRead"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.AUDIT,
        ActionDefinition("audit-read", "a caller reads the audit", READ),
        ocsf_class=API_ACTIVITY,
        of_person=("query",),
    )
    view: str
    count: int
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditExported(RecordEvent):
    """A caller exported the audit. format: of the copy. query: the filter; None for no filter."""

    TOPIC: ClassVar[str] = "AuditExported"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.AUDIT,
        ActionDefinition("audit-exported", "a caller takes a copy of the audit, or evidence", READ),
        ocsf_class=API_ACTIVITY,
        of_person=("query",),
    )
    format: str
    query: str | None = None


def request_refused(meta: CommandMeta, now: datetime, refused: RefusedRequest, count: int = 1) -> RequestRefused:
    """Return the record of `count` refused requests."""
    return RequestRefused(
        **envelope(record_stream(meta.command_id), 1, meta, now),
        outcome=refused.outcome.value,
        method=refused.method,
        route=refused.route,
        status=refused.status,
        code=refused.code,
        count=count,
        tenant_id=refused.tenant_id,
        provider=refused.provider,
    )


def address_locked_out(meta: CommandMeta, now: datetime, lockout: Lockout, count: int = 1) -> AddressLockedOut:
    """Return the record of `count` lock-outs of an address."""
    members = envelope(record_stream(meta.command_id), 1, meta, now)
    return AddressLockedOut(**members, outcome=Outcome.DENIED.value, seconds=lockout.seconds, count=count)


def audit_read(meta: CommandMeta, now: datetime, view: str, query: str | None, count: int = 1) -> AuditRead:
    """Return the record of `count` reads of the audit."""
    return AuditRead(**envelope(record_stream(meta.command_id), 1, meta, now), view=view, query=query, count=count)


def audit_exported(meta: CommandMeta, now: datetime, form: str, query: str | None) -> AuditExported:
    """Return the record of an export. form: of the copy."""
    return AuditExported(**envelope(record_stream(meta.command_id), 1, meta, now), format=form, query=query)


def _common(one: str, other: str) -> str:
    return one if one == other else SEVERAL


class AuditRecorder(Protocol):
    """Records requests. Equal ones share one record, so a flood of requests does not flood the log."""

    def refused(self, meta: CommandMeta, refused: RefusedRequest) -> None:
        """Note a refused request, to be stored within about a second. Never blocks."""
        ...

    def locked_out(self, meta: CommandMeta, lockout: Lockout) -> None:
        """Note that an address was locked out, to be stored within about a second. Never blocks."""
        ...

    def read(self, meta: CommandMeta, view: str, query: str | None) -> None:
        """Record a read of the audit: the first at once, then counts of equal ones. Raises StoreUnavailableError."""
        ...

    def exported(self, meta: CommandMeta, form: str, query: str | None) -> None:
        """Record an export, before it is sent. Raises StoreUnavailableError."""
        ...

    def flush(self) -> None:
        """Store what was noted. Raises StoreUnavailableError, and then keeps it for the next flush."""
        ...
