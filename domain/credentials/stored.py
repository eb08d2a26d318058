"""Stored credentials: a row of the projection with the head of its stream, and the status that lists show.

Promises: a row counts only together with the log; `Stored.current` refuses a row that contradicts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from domain.credentials.admission import TokenRow
from domain.credentials.credential import Credential, CredentialDeleted, evolve
from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from domain.events.event import Event
from domain.events.event_code import EventCodes, LogRow, require_no_forgery, shown_key_id
from domain.tenants.stored import TenantRow

_TOKEN = b'"token":"'  # in the stored form of an event; a quote within a text is escaped


@dataclass(frozen=True, slots=True)
class Head:
    """Version and topic of the newest event of a stream. row: as the log holds it, where a reader needs that."""

    version: int
    topic: str
    row: LogRow | None = field(default=None, compare=False)


def head_of(row: LogRow | None) -> Head | None:
    """Return the head of a stream whose newest event is in a row; None for an empty stream."""
    return None if row is None else Head(row.version, row.topic, row)


@dataclass(frozen=True, slots=True)
class Stored:
    """One row of the projection and the head of its stream, read together. Both None: never configured.

    recorded: the live credential in the log if the row shows none; only to show that something is wrong, never to
    resolve a call. rejected: the provider rejected this version. answered: the log says whether the provider accepts
    this version. last_used_at: the end of the last counted call with this version, or with an earlier one of the same
    key and settings. The last three are not part of the credential's state, and a resolution does not read them.
    """

    row: Credential | None
    head: Head | None
    recorded: Credential | None = None
    rejected: bool = field(default=False, compare=False)
    answered: bool = field(default=False, compare=False)
    last_used_at: datetime | None = field(default=None, compare=False)

    @classmethod
    def of(cls, last: Event | None) -> "Stored":
        """Return the row and head that a correct projection shows after the last event of a stream."""
        return cls(evolve(last), Head(last.originator_version, last.TOPIC)) if last else cls(None, None)

    @property
    def shown(self) -> Credential | None:
        """The live credential that a list shows, from the row, or from the log if only the log has it."""
        return self.row if self.row is not None and self.row.sealed is not None else self.recorded

    def current(self) -> Credential | None:
        """Return the live credential, or None if there is none according to the log.

        Raises CredentialIntegrityError when projection and log disagree.
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


def require_written(stored: Stored, codes: EventCodes) -> None:
    """Require that a holder of the ledger's keys wrote the newest event of a stream.

    Raises CredentialIntegrityError, and UnreadableCredentialError where the key of the event's code is not configured.
    """
    if stored.head is None or stored.head.row is None:
        return
    row = stored.head.row
    if not require_no_forgery(row, codes).proves:
        raise UnreadableCredentialError(shown_key_id(row.code_key_id), "event-under-key-not-in-keyring")


def require_token_of_log(stored: Stored) -> None:
    """Require that the row has the token of the newest event. Raises CredentialIntegrityError.

    A binding does not name the ledger: the same keys may serve another one, and its rows would fit here.
    """
    newest = stored.head.row if stored.head is not None else None
    sealed = stored.row.sealed if stored.row is not None else None
    if newest is None or sealed is None:
        return
    # Its name is found from the end, where it is, and the token compared there: a fifth of the time of one search.
    begin = newest.state.rfind(_TOKEN)
    if begin < 0 or not newest.state.startswith(b'%s"' % sealed.token.encode(), begin + len(_TOKEN)):
        raise CredentialIntegrityError("view-contradicts-log")


class CredentialState(StrEnum):
    """Whether a credential works, as far as is known. One that was rejected is still tried: the provider decides."""

    IN_ORDER = "in-order"
    UNTESTED = "untested"
    REJECTED = "credential-rejected"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """A live credential with its status.

    readable: it can be opened. rejected: the provider rejected this version. tried: a call was made with this key and
    these settings. last_used_at: the end of the last counted call.
    """

    credential: Credential
    readable: bool
    rejected: bool = False
    tried: bool = False
    last_used_at: datetime | None = None

    @property
    def state(self) -> CredentialState:
        """The status in one word."""
        if not self.readable:
            return CredentialState.UNREADABLE
        if self.rejected:
            return CredentialState.REJECTED
        return CredentialState.IN_ORDER if self.tried else CredentialState.UNTESTED


class CurrentCredentials(Protocol):
    """The projection of current credentials with the head of each stream. Never behind the log."""

    def read(self, tenant_id: str, provider: str) -> Stored:
        """Return the row and the head of the stream, read in one statement."""
        ...

    def read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        """Return the result of `read` for each tenant and provider in `places`, read in one statement."""
        ...

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return every credential of a tenant that is not deleted, by provider; damaged ones too."""
        ...


class PastCredentials(Protocol):
    """The credentials that were in effect at a past time, from the log."""

    def of_tenant(self, tenant_id: str, at: datetime) -> Sequence[CredentialStatus]:
        """Return the credentials that a tenant had at a time, by provider, with whether each can be opened now."""
        ...


class CallRows(NamedTuple):
    """The rows that decide a call: a credential, the operator's rules for the tenant, and the token of the caller."""

    stored: Stored
    tenant: TenantRow
    caller: TokenRow | None = None


class ResolutionProjection(Protocol):
    """The projections that decide applications' calls. Does not block the event loop."""

    async def read(self, tenant_id: str, provider: str, digest: str | None = None) -> CallRows:
        """Return everything that decides a call, read in one statement.

        digest: the SHA-256 of the caller's token; None for a caller whose key is not in the log.
        """
        ...


class TenantCredentials(Protocol):
    """The current credentials of whole tenants. Does not block the event loop."""

    async def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return every credential of a tenant that is not deleted, by provider; damaged ones too."""
        ...
