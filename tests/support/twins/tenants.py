"""The tenants in memory."""

from collections.abc import Mapping, Sequence

from domain.event_codec import encode
from domain.events.event_code import LogRow
from domain.tenants.stored import TenantRow
from domain.tenants.tenant import Profile, Tenant, TenantEvent, TenantRegistered, evolve, profile_of, tenant_stream
from tests.support.twins.log import MemoryLog


class MemoryTenants:
    """Implements `domain.access.tenants.TenantList` on a log, and says whether calls of a tenant may continue."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def tenants(self, tenant_ids: Sequence[str]) -> Sequence[Tenant]:
        return [self._tenant(one) for one in tenant_ids]

    def profiles(self, tenant_ids: Sequence[str]) -> Mapping[str, Profile]:
        found = [self._log.stream(tenant_stream(one)) for one in tenant_ids]
        registered = [event for events in found for event in events if isinstance(event, TenantRegistered)]
        return {event.tenant_id: self.profile_in(event) for event in registered}

    def profile_in(self, event: TenantRegistered) -> Profile:
        return profile_of(event.tenant_name, event.labels)

    def row(self, tenant_id: str) -> TenantRow:
        """Return what a database would have of a tenant, without a code."""
        last = self._log.last(tenant_stream(tenant_id))
        if not isinstance(last, TenantEvent):
            return TenantRow()
        tenant = evolve(last)
        head = LogRow(1, last.originator_id, last.originator_version, last.TOPIC, encode(last), None, None)
        return TenantRow(tenant.version, tenant.frozen_at is not None, tenant.registered, head)

    async def require(self, tenant_id: str) -> None:
        """Require that calls of a tenant may continue."""
        self._tenant(tenant_id).require_free()

    def _tenant(self, tenant_id: str) -> Tenant:
        last = self._log.last(tenant_stream(tenant_id))
        return evolve(last) if isinstance(last, TenantEvent) else Tenant(tenant_id)
