"""The operator's rules for a tenant as they were read: a row of the projection with the head of the tenant's stream.

Promises: a rule counts only through the newest event of the tenant's stream, which a holder of the ledger's keys wrote.
A row that was changed, removed or put back is an integrity error, and so is an event that cannot be proved or read: a
tenant whose rules cannot be read gets an error, never the rules of another time and never the default.
"""

from collections.abc import Callable
from typing import NamedTuple

from domain.errors import CredentialIntegrityError
from domain.events.event import Event
from domain.events.event_code import EventCodes, LogRow
from domain.tenants.tenant import Tenant, TenantEvent, evolve, unknown_tenant


class TenantRow(NamedTuple):
    """The row of a tenant and the newest event of its stream. version, frozen, registered: None where there is no row.

    head: None where the stream is empty.
    """

    version: int | None = None
    frozen: bool | None = None
    registered: bool | None = None
    head: LogRow | None = None


class TenantReader:
    """Reads tenants from rows, and checks them. codes: check events. decode: returns the event of a row of the log."""

    def __init__(self, codes: Callable[[], EventCodes], decode: Callable[[LogRow], Event]) -> None:
        self._codes = codes
        self._decode = decode

    def tenant_of(self, tenant_id: str, row: TenantRow) -> Tenant:
        """Return the state of a tenant. Raises CredentialIntegrityError if row and log disagree."""
        if row.head is None:
            if row.version is not None:
                raise damaged("stream-missing")
            return unknown_tenant(tenant_id)
        if row.version is None:
            raise damaged("view-row-missing")
        tenant = tenant_after(self.event_of(row.head))
        if row.version != tenant.version:
            raise damaged("view-not-at-head")
        if (row.frozen, row.registered) != (tenant.frozen_at is not None, tenant.registered):
            raise damaged("view-contradicts-log")
        return tenant

    def event_of(self, row: LogRow) -> Event:
        """Return the event that a holder of the keys wrote into a row. Raises CredentialIntegrityError."""
        said = self._codes().check(row)
        if not said.proves:
            raise damaged(f"event-code-{said.value}")
        return self._decode(row)


def tenant_after(event: Event) -> Tenant:
    """Return the state after the newest event of a tenant's stream. Raises CredentialIntegrityError."""
    if not isinstance(event, TenantEvent):
        raise damaged("stream-of-something-else")
    try:
        return evolve(event)
    except (ValueError, KeyError):
        raise damaged("event-malformed") from None


def damaged(reason: str) -> CredentialIntegrityError:
    """Return the error for rules of a tenant that cannot be relied on. reason: a code."""
    return CredentialIntegrityError(reason, what="tenant")
