"""Credentials as they are stored: a row of the current view with the head of its stream, and what a list says of it.

Promises: what a row shows counts only together with the log; `Stored.current` says whether the two tell the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.credentials.credential import Credential, CredentialDeleted, evolve
from domain.errors import CredentialIntegrityError
from domain.event import Event


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event of a stream, as the log has it."""

    version: int
    topic: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One row of the current view and the head of its stream, read together. Both None: never configured.

    recorded: the live credential of the log where the row shows none; to show that something is wrong, never to
    resolve a call. rejected: the provider refused it at this version. answered: it is recorded whether the provider
    takes this version. last_used_at: when the last call ended that was counted for this version, or for an earlier one
    with the same key and settings. The last three do not belong to the credential's own state, and a resolution does
    not ask for them.
    """

    row: Credential | None
    head: Head | None
    recorded: Credential | None = None
    rejected: bool = field(default=False, compare=False)
    answered: bool = field(default=False, compare=False)
    last_used_at: datetime | None = field(default=None, compare=False)

    @classmethod
    def of(cls, last: Event | None) -> "Stored":
        """Return what a view in order shows after the last event of a stream."""
        return cls(evolve(last), Head(last.originator_version, last.TOPIC)) if last else cls(None, None)

    @property
    def shown(self) -> Credential | None:
        """What a list shows: a live credential, whether the row or only the log has it."""
        return self.row if self.row is not None and self.row.sealed is not None else self.recorded

    def current(self) -> Credential | None:
        """Return the live credential, or None where the log says there is none.

        Raises CredentialIntegrityError when view and log do not tell the same.
        """
        if self.row is None and self.head is None:
            return None
        if self.row is None:
            raise CredentialIntegrityError("view-row-missing")
        if self.head is None:
            raise CredentialIntegrityError("stream-missing")
        if self.row.version != self.head.version:
            raise CredentialIntegrityError("view-not-at-head")
        if (self.row.sealed is None) != (self.head.topic == CredentialDeleted.TOPIC):
            raise CredentialIntegrityError("view-contradicts-log")
        return None if self.row.sealed is None else self.row


class CredentialState(StrEnum):
    """Whether a credential works, as far as is known. One that was rejected is still tried: the provider decides."""

    IN_ORDER = "in-order"
    UNTESTED = "untested"
    REJECTED = "credential-rejected"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """A live credential, whether it can be opened, whether the provider refused it at this version, and its use.

    tried: a call was made with this key and these settings. last_used_at: when the last that was counted ended.
    """

    credential: Credential
    readable: bool
    rejected: bool = False
    tried: bool = False
    last_used_at: datetime | None = None

    @property
    def state(self) -> CredentialState:
        """What a list says of it in one word."""
        if not self.readable:
            return CredentialState.UNREADABLE
        if self.rejected:
            return CredentialState.REJECTED
        return CredentialState.IN_ORDER if self.tried else CredentialState.UNTESTED


class CurrentCredentials(Protocol):
    """The current-credential view together with the head of each stream. Never behind the log."""

    def read(self, tenant_id: str, provider: str) -> Stored:
        """Return the row and the head of the stream, read in one statement."""
        ...

    def read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        """Return what `read` would for each tenant and provider, in their order, read in one statement."""
        ...

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return every credential of a tenant that is not deleted, by provider; damaged ones too."""
        ...


class PastCredentials(Protocol):
    """What was in effect at a time, from the log."""

    def of_tenant(self, tenant_id: str, at: datetime) -> Sequence[CredentialStatus]:
        """Return the credentials that a tenant had at a time, by provider, and whether each can be opened now."""
        ...


class ResolutionView(Protocol):
    """The same view for the calls of applications, without blocking the event loop."""

    async def read(self, tenant_id: str, provider: str) -> Stored:
        """Return the row and the head of the stream, read in one statement."""
        ...


class TenantCredentials(Protocol):
    """The current view of whole tenants, without blocking the event loop."""

    async def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return every credential of a tenant that is not deleted, by provider; damaged ones too."""
        ...
