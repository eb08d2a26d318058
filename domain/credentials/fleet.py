"""The credentials of all tenants: which of them an operator wants to see, pages of them, and what is told of a tenant.

Promises: pages follow tenant and provider, which nothing moves, so they neither shift nor overlap while others write,
and what they say of a credential is what its tenant's list says. A page looks at no more than `LOOKED_AT` places: where
few of them fit it holds fewer than were asked for, even none, and still names where to go on.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, Protocol, Self

from domain.credentials.credential import Credential
from domain.credentials.providers import NAME_PATTERN
from domain.credentials.service import CredentialService
from domain.credentials.stored import CredentialState, CredentialStatus, Stored

LOOKED_AT = 5000
"""Places that a page looks at, at most."""
CHUNK = 500
"""Places that are read together where it is not known how many of them fit."""

CURSOR_PATTERN = f"^([0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}})[.]({NAME_PATTERN})$"
"""What a cursor looks like. Every text that fits is one."""
_CURSOR = re.compile(CURSOR_PATTERN)


class CredentialPlace(NamedTuple):
    """Whose credential, and for which provider: its place among all, whether there is one now or was."""

    tenant_id: str
    provider: str

    def cursor(self) -> str:
        """Return the place as one word."""
        return f"{self.tenant_id}.{self.provider}"

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Return the place that a cursor names. Raises ValueError."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("not a place among the credentials")
        return cls(*match.groups())


@dataclass(frozen=True, slots=True)
class FleetFilter:
    """Which credentials somebody wants to see. key_id: of the encryption key that opens it. set_before: it was last set
    before this time. used_before: it was not used at this time or later, or never. after: the last one seen.
    """

    tenant_id: str | None = None
    provider: str | None = None
    key_id: str | None = None
    state: CredentialState | None = None
    set_before: datetime | None = None
    used_before: datetime | None = None
    after: CredentialPlace | None = None
    limit: int = 100

    @property
    def looks_at_each(self) -> bool:
        """Say whether each credential has to be looked at, because no index knows which fit."""
        return any((self.state, self.set_before, self.used_before))

    def takes(self, credential: Credential, last_used_at: datetime | None) -> bool:
        """Say whether a live credential fits, as far as that can be told without its state."""
        return (
            (self.set_before is None or (credential.set_at is not None and credential.set_at < self.set_before))
            and (self.used_before is None or last_used_at is None or last_used_at < self.used_before)
            and (self.key_id is None or (credential.sealed is not None and credential.sealed.key_id == self.key_id))
        )


@dataclass(frozen=True, slots=True)
class Lodged:
    """What is stored at a place, shown or not. changed_at: when the credential was last set, or when it was deleted."""

    place: CredentialPlace
    stored: Stored
    changed_at: datetime | None


class FleetView(Protocol):
    """All places where a credential is or was, in one order, each with what its tenant's list is made from."""

    def places(self, wanted: FleetFilter, after: CredentialPlace | None, limit: int) -> Sequence[CredentialPlace]:
        """Return the next places of a tenant, of a provider, or under an encryption key.

        Raises StoreUnavailableError.
        """
        ...

    def of_tenants(self, after: str | None, limit: int) -> Sequence[CredentialPlace]:
        """Return all places of the next tenants. Raises StoreUnavailableError."""
        ...

    def lodged(self, places: Sequence[CredentialPlace]) -> Sequence[Lodged]:
        """Return what is stored at places, in their order. Raises StoreUnavailableError, CredentialIntegrityError."""
        ...


@dataclass(frozen=True, slots=True)
class FleetPage:
    """Live credentials in the order of their places. next: where to go on; None at the end."""

    found: Sequence[CredentialStatus]
    next: CredentialPlace | None


@dataclass(frozen=True, slots=True)
class TenantSummary:
    """A tenant that has a credential or had one.

    states: how many of its credentials are in each state that any is in. last_change: when one was last set or deleted.
    last_used_at: when one of those it has now was.
    """

    tenant_id: str
    states: Mapping[CredentialState, int]
    last_change: datetime | None
    last_used_at: datetime | None


class Fleet:
    """Reads the credentials of all tenants. It changes nothing and decrypts nothing."""

    def __init__(self, view: FleetView, credentials: CredentialService) -> None:
        self._view = view
        self._credentials = credentials

    def page(self, wanted: FleetFilter) -> FleetPage:
        """Return the next credentials that fit. Raises StoreUnavailableError, CredentialIntegrityError."""
        found: list[CredentialStatus] = []
        place, left = wanted.after, LOOKED_AT
        while left:
            asked = min(left, CHUNK if wanted.looks_at_each else wanted.limit - len(found))
            places = self._view.places(wanted, place, asked)
            for one in self._view.lodged(places):
                found += self._fitting(wanted, one.stored)
                if len(found) == wanted.limit:
                    return FleetPage(found, one.place)
            if len(places) < asked:
                return FleetPage(found, None)
            place, left = places[-1], left - asked
        return FleetPage(found, place)

    def tenants(self, after: str | None, limit: int) -> Sequence[TenantSummary]:
        """Return what is told of the next tenants, by id. Raises StoreUnavailableError, CredentialIntegrityError."""
        lodged = self._view.lodged(self._view.of_tenants(after, limit))
        return [self._summary(tenant_id, of) for tenant_id, of in groupby(lodged, lambda one: one.place.tenant_id)]

    def _fitting(self, wanted: FleetFilter, stored: Stored) -> Sequence[CredentialStatus]:
        if stored.shown is None or not wanted.takes(stored.shown, stored.last_used_at):
            return ()
        return [one for one in self._credentials.statuses([stored]) if wanted.state in {None, one.state}]

    def _summary(self, tenant_id: str, lodged: Iterable[Lodged]) -> TenantSummary:
        all_of_it = list(lodged)
        live = self._credentials.statuses([one.stored for one in all_of_it])
        return TenantSummary(
            tenant_id,
            Counter(one.state for one in live),
            max((one.changed_at for one in all_of_it if one.changed_at is not None), default=None),
            max((one.last_used_at for one in live if one.last_used_at is not None), default=None),
        )
