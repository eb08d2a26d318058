"""What the domain needs from outside, as contracts. Adapters implement them; the composition root wires them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from domain.secret import SealContext, SealedSecret, Secret

if TYPE_CHECKING:  # these modules build on the contracts here
    from domain.audit import AuditEntry, AuditFilter
    from domain.audit_events import Refusal
    from domain.event import CommandMeta, Event
    from domain.resolution import Stored
    from domain.service import CredentialStatus
    from domain.usage import UsageFilter, UsageRecord


class Clock(Protocol):
    """Returns the time now, in UTC."""

    def __call__(self) -> datetime: ...


class Sealer(Protocol):
    """Encrypts secrets and binds them to their place."""

    @property
    def primary_id(self) -> str:
        """The key id that new tokens carry."""
        ...

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        """Seal under the primary encryption key."""
        ...

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        """Return the plaintext. Raises UnreadableCredential or CredentialIntegrityError; never guesses another key."""
        ...

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        """Raise what `open` would raise, without decrypting."""
        ...

    def fingerprint(self, secret: Secret) -> str:
        """Return what is the same for equal secrets under the primary encryption key and tells nothing without it."""
        ...


class EventLog(Protocol):
    """The append-only log. Raises StoreUnavailable when the database does not answer."""

    def last(self, stream: UUID) -> "Event | None":
        """Return the newest event of a stream."""
        ...

    def newest(self, streams: Sequence[UUID]) -> "Mapping[UUID, Event]":
        """Return the newest event of each stream that has any, all read in one statement."""
        ...

    def find_all(self, wanted: "Sequence[tuple[UUID, str]]") -> "Mapping[tuple[UUID, str], Event]":
        """Return the events that commands caused, by stream and command id, all read in one statement."""
        ...

    def append(self, events: "Sequence[Event]") -> None:
        """Store the events and the current view together, or nothing. Texts pass the gate `domain.recording` first.

        Once it returns they survive a crash. Raises VersionConflict when a version is taken (also when the same
        command was stored and its answer lost: look for the command id) and StoreUnavailable when the outcome is
        unknown.
        """
        ...


class StreamLog(EventLog, Protocol):
    """A log that also reads whole streams."""

    def stream(self, stream: UUID) -> "Sequence[Event]":
        """Return every event of a stream, oldest first."""
        ...


class CurrentCredentials(Protocol):
    """The current-credential view together with the head of each stream. Never behind the log."""

    def read(self, tenant_id: str, provider: str) -> "Stored":
        """Return the row and the head of the stream, read in one statement."""
        ...

    def read_all(self, places: "Sequence[tuple[str, str]]") -> "Sequence[Stored]":
        """Return what `read` would for each tenant and provider, in their order, read in one statement."""
        ...

    def of_tenant(self, tenant_id: str) -> "Sequence[Stored]":
        """Return every credential of a tenant that is not deleted, by provider; damaged ones too."""
        ...


class PastCredentials(Protocol):
    """What was in effect at a time, from the log."""

    def of_tenant(self, tenant_id: str, at: datetime) -> "Sequence[CredentialStatus]":
        """Return the credentials that a tenant had at a time, by provider, and whether each can be opened now."""
        ...


class ResolutionView(Protocol):
    """The same view for the calls of applications, without blocking the event loop."""

    async def read(self, tenant_id: str, provider: str) -> "Stored":
        """Return the row and the head of the stream, read in one statement."""
        ...


class AuditRecorder(Protocol):
    """Records what happened besides changes. Alike things in a row are counted, so nobody can flood it."""

    def refused(self, meta: "CommandMeta", refusal: "Refusal") -> None:
        """Note a refused request. Never blocks; it is stored within about a second."""
        ...

    def read(self, meta: "CommandMeta", view: str, query: str | None) -> None:
        """Record a read of the audit: the first of its kind at once, more are counted. Raises StoreUnavailable."""
        ...

    def exported(self, meta: "CommandMeta", form: str, query: str | None) -> None:
        """Record an export before it is given. Raises StoreUnavailable."""
        ...

    def flush(self) -> None:
        """Store what was noted. Raises StoreUnavailable; what could not be stored is kept."""
        ...


class UsageMeter(Protocol):
    """Counts who used a credential, and notices when a provider begins or ceases to refuse one."""

    def used(
        self,
        tenant_id: str,
        provider: str,
        version: int,
        *,
        failed: bool,
        rejected: bool,
        request_id: str | None = None,
    ) -> None:
        """Count a call with a tenant's credential that ended. Never blocks, never raises; any thread may call it.

        version: of the credential. failed: it got no right answer. rejected: the provider refused the key as invalid.
        request_id: of whoever caused the call, where it is known.
        """
        ...

    def waits(self) -> bool:
        """Say, without blocking, whether there is something to flush."""
        ...

    def flush(self) -> None:
        """Store what was counted and noticed. Blocks; raises StoreUnavailable, and then everything is kept."""
        ...


class CredentialUsage(Protocol):
    """The records of who used a credential."""

    def page(self, wanted: "UsageFilter") -> "Sequence[UsageRecord]":
        """Return the records that fit, oldest hour first. Raises StoreUnavailable."""
        ...


class TenantCredentials(Protocol):
    """The current view of whole tenants, without blocking the event loop."""

    async def of_tenant(self, tenant_id: str) -> "Sequence[Stored]":
        """Return every credential of a tenant that is not deleted, by provider; damaged ones too."""
        ...


class AuditTrail(Protocol):
    """Who did what when. Catches up with the log before it answers, so a reader sees every acknowledged write."""

    def entries(self, wanted: "AuditFilter") -> "Sequence[AuditEntry]":
        """Return the entries that fit, in the order of the log."""
        ...
