"""The places of all tenants' credentials in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.credentials.credential import CredentialEvent, evolve, stream_id
from domain.credentials.fleet import CredentialPlace, FleetFilter, Lodged
from domain.tenants.tenant import TenantEvent
from tests.support.twins.current_credentials import MemoryCurrentCredentials
from tests.support.twins.log import MemoryLog


class MemoryFleet:
    """Implements `domain.credentials.fleet.FleetProjection` on a log."""

    def __init__(self, log: MemoryLog, credentials: MemoryCurrentCredentials) -> None:
        self._log = log
        self._credentials = credentials

    def places(self, wanted: FleetFilter, after: CredentialPlace | None, limit: int) -> Sequence[CredentialPlace]:
        fitting = (place for place in self._all() if self._fits(place, wanted))
        return [place for place in fitting if after is None or place > after][:limit]

    def of_tenants(self, after: str | None, limit: int) -> Mapping[str, Sequence[CredentialPlace]]:
        places = self._all()
        known = {event.tenant_id for event in self._log.events if isinstance(event, TenantEvent)}
        known |= {place.tenant_id for place in places}
        tenants = sorted(one for one in known if after is None or one > after)[:limit]
        return {tenant: [place for place in places if place.tenant_id == tenant] for tenant in tenants}

    def lodged(self, places: Sequence[CredentialPlace]) -> Sequence[Lodged]:
        self._log.answer()
        known = [(place, self._changed_at(place)) for place in places]
        return [Lodged(place, self._credentials.read(*place), at) for place, at in known if at is not None]

    def _all(self) -> Sequence[CredentialPlace]:
        self._log.answer()
        of_credentials = (event for event in self._log.events if isinstance(event, CredentialEvent))
        return sorted({CredentialPlace(event.tenant_id, event.provider) for event in of_credentials})

    def _fits(self, place: CredentialPlace, wanted: FleetFilter) -> bool:
        row = self._credentials.read(*place).row
        key_id = row.sealed.key_id if row is not None and row.sealed is not None else None
        return (
            wanted.tenant_id in {None, place.tenant_id}
            and wanted.provider in {None, place.provider}
            and wanted.key_id in {None, key_id}
        )

    def _changed_at(self, place: CredentialPlace) -> datetime | None:
        last = self._log.last(stream_id(*place))
        return None if last is None else evolve(last).set_at or last.timestamp
