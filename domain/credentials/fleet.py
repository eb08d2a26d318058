"""The credentials of all tenants: filters, pages, and a summary of each tenant.

Promises: pages are ordered by tenant and provider, which never change, so pages neither shift nor overlap while others
write. A page shows a credential as its tenant's list does. A page examines at most `LOOKED_AT` places, and stops
examining after `BUDGET_S`: if few match, it holds fewer than the limit, possibly none, and still names the place to
continue from.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, Protocol, Self

from domain.credentials.credential import Credential
from domain.credentials.providers import NAME_PATTERN
from domain.credentials.service import CredentialService
from domain.credentials.stored import CredentialState, CredentialStatus, Stored

LOOKED_AT = 5000
"""The most places that one page examines."""
BUDGET_S = 0.2
"""Seconds after which a page ends with what it has found."""
CHUNK = 500
"""Places that are read together when it is not known how many of them match."""

CURSOR_PATTERN = f"^([0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}})[.]({NAME_PATTERN})$"
"""The form of a cursor. Every text of this form is one."""
_CURSOR = re.compile(CURSOR_PATTERN)


class CredentialPlace(NamedTuple):
    """The tenant and the provider of a present or deleted credential: its place in the order of all."""

    tenant_id: str
    provider: str

    def cursor(self) -> str:
        """Return the place as a cursor: one word."""
        return f"{self.tenant_id}.{self.provider}"

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Return the place that a cursor stands for. Raises ValueError."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("not a place among the credentials")
        return cls(*match.groups())


@dataclass(frozen=True, slots=True)
class FleetFilter:
    """The credentials to list.

    key_id: of the encryption key that opens them. set_before: last set before this time. used_before: not used since
    this time, or never. after: the last place already seen. limit: of credentials in a page.
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
        """Whether every credential has to be examined, because no index finds those that match."""
        return any((self.state, self.set_before, self.used_before))

    def takes(self, credential: Credential, last_used_at: datetime | None) -> bool:
        """Return whether a live credential matches all conditions but that on its state."""
        return (
            (self.set_before is None or (credential.set_at is not None and credential.set_at < self.set_before))
            and (self.used_before is None or last_used_at is None or last_used_at < self.used_before)
            and (self.key_id is None or (credential.sealed is not None and credential.sealed.key_id == self.key_id))
        )


@dataclass(frozen=True, slots=True)
class Lodged:
    """The stored credential of a place, live or not. changed_at: when it was last set, or deleted."""

    place: CredentialPlace
    stored: Stored
    changed_at: datetime | None


class FleetProjection(Protocol):
    """The places of all present and deleted credentials, in order, each with the data of its tenant's list."""

    def places(self, wanted: FleetFilter, after: CredentialPlace | None, limit: int) -> Sequence[CredentialPlace]:
        """Return the next places that match the tenant, the provider and the encryption key of the filter.

        Raises StoreUnavailableError.
        """
        ...

    def of_tenants(self, after: str | None, limit: int) -> Mapping[str, Sequence[CredentialPlace]]:
        """Return the next tenants in order, each with all its places, if it has any. Raises StoreUnavailableError."""
        ...

    def lodged(self, places: Sequence[CredentialPlace]) -> Sequence[Lodged]:
        """Return the stored credential of each place. Raises StoreUnavailableError, CredentialIntegrityError."""
        ...


@dataclass(frozen=True, slots=True)
class FleetPage:
    """Live credentials in the order of their places. next: the place to continue after; None at the end."""

    found: Sequence[CredentialStatus]
    next: CredentialPlace | None


@dataclass(frozen=True, slots=True)
class TenantSummary:
    """A tenant that has or had a credential, or that the operator registered, froze or has a policy for.

    states: the number of its credentials in each state that occurs. last_change: when one was last set or deleted.
    last_used_at: when one of its present credentials was last used.
    """

    tenant_id: str
    states: Mapping[CredentialState, int]
    last_change: datetime | None
    last_used_at: datetime | None


class Fleet:
    """Reads the credentials of all tenants. Changes nothing and decrypts nothing."""

    def __init__(
        self,
        projection: FleetProjection,
        credentials: CredentialService,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: returns seconds that never decrease."""
        self._projection = projection
        self._credentials = credentials
        self._clock = clock

    def page(self, wanted: FleetFilter) -> FleetPage:
        """Return the next page of matching credentials. Raises StoreUnavailableError, CredentialIntegrityError."""
        found: list[CredentialStatus] = []
        place, left, began = wanted.after, LOOKED_AT, self._clock()
        while left and (left == LOOKED_AT or self._clock() - began < BUDGET_S):
            asked = min(left, CHUNK if wanted.looks_at_each else wanted.limit - len(found))
            places = self._projection.places(wanted, place, asked)
            for one in self._projection.lodged(places):
                found += self._fitting(wanted, one.stored)
                if len(found) == wanted.limit:
                    return FleetPage(found, one.place)
            if len(places) < asked:
                return FleetPage(found, None)
            place, left = places[-1], left - asked
        return FleetPage(found, place)

    def tenants(self, after: str | None, limit: int) -> Sequence[TenantSummary]:
        """Return the next tenants' summaries, by id. Raises StoreUnavailableError, CredentialIntegrityError."""
        tenants = self._projection.of_tenants(after, limit)
        lodged = self._projection.lodged([place for places in tenants.values() for place in places])
        of = {tenant_id: list(found) for tenant_id, found in groupby(lodged, lambda one: one.place.tenant_id)}
        return [self._summary(tenant_id, of.get(tenant_id, [])) for tenant_id in tenants]

    def _fitting(self, wanted: FleetFilter, stored: Stored) -> Sequence[CredentialStatus]:
        if stored.shown is None or not wanted.takes(stored.shown, stored.last_used_at):
            return ()
        return [one for one in self._credentials.statuses([stored]) if wanted.state in {None, one.state}]

    def _summary(self, tenant_id: str, lodged: Sequence[Lodged]) -> TenantSummary:
        live = self._credentials.statuses([one.stored for one in lodged])
        return TenantSummary(
            tenant_id,
            Counter(one.state for one in live),
            max((one.changed_at for one in lodged if one.changed_at is not None), default=None),
            max((one.last_used_at for one in live if one.last_used_at is not None), default=None),
        )
