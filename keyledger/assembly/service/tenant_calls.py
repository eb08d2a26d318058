"""Whether calls of a tenant that are under way may continue: read each time, as for a call that begins.

Promises: nothing is cached. While tenant credentials are off, no rule for a tenant applies.
"""

from collections.abc import Callable

from api.front.revoked_calls import RequireTenant
from keyledger.assembly.service.in_force import InForce
from keyledger.assembly.service.lasting import Lasting
from projections.tenants import PostgresTenantRows


def tenant_calls(lasting: Lasting, steering: Callable[[], InForce]) -> RequireTenant:
    """Return what says whether calls of a tenant may continue. steering: returns what is in force."""
    rows = PostgresTenantRows(lasting.pipelines.calls, lasting.lease.require)

    async def require(tenant_id: str) -> None:
        policy = steering().configuration.settings.policy
        if policy.tenant_credentials:
            tenant = lasting.tenants.tenant_of(tenant_id, await rows.read(tenant_id))
            tenant.require_usable(registration_required=policy.registration_required)

    return require
