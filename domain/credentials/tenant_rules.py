"""The operator's rules for tenants, applied to changes of their credentials.

Promises: the rules are read from the log, with the credentials' own streams, so a change that begins after a freeze or
a change of policy was answered obeys it. A tenant whose newest event cannot be proved or read changes nothing.
Deleting a credential needs no registration and is within every policy; only a freeze prevents it, and not for an
operator, who answers a leak by a freeze and then takes away what leaked.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from domain.credentials.commands import DeleteCredential, SetCredential
from domain.errors import CredentialIntegrityError, ErrorCode, UnresolvableError
from domain.events.event import Event
from domain.events.event_log import EventLog
from domain.tenants.stored import damaged, tenant_after
from domain.tenants.tenant import Tenant, tenant_stream


class TenantRules:
    """The rules for the tenants of a batch of commands. registration_required: of every tenant that sets one."""

    def __init__(self, *, registration_required: bool) -> None:
        self._registration_required = registration_required
        self._tenants: dict[str, Tenant | CredentialIntegrityError] = {}

    def read(self, tenant_ids: Iterable[str], newest: Mapping[UUID, Event], log: EventLog) -> None:
        """Take the rules from the newest events of streams. log: says whether they can be proved.

        Raises StoreUnavailableError.
        """
        self._tenants = {one: _tenant(one, newest.get(tenant_stream(one)), log) for one in tenant_ids}

    def require(self, command: SetCredential | DeleteCredential) -> None:
        """Raise UnresolvableError, CredentialIntegrityError for a command that the tenant may not give."""
        if isinstance(command, DeleteCredential) and command.by_operator:
            return
        tenant = self._tenants[command.tenant_id]
        if isinstance(tenant, CredentialIntegrityError):
            raise tenant
        tenant.require_free()
        if isinstance(command, DeleteCredential):
            return
        tenant.require_usable(registration_required=self._registration_required)
        tenant.policy.require_provider(command.provider)
        tenant.policy.require_endpoint(command.config.endpoint)
        if tenant.policy.key_check and not command.accepted:
            detail = "The operator's policy for this tenant wants its provider to accept a key before it is stored."
            raise UnresolvableError(ErrorCode.KEY_NOT_CHECKED, detail)


def _tenant(tenant_id: str, newest: Event | None, log: EventLog) -> Tenant | CredentialIntegrityError:
    if newest is None:
        return Tenant(tenant_id)
    if not log.proves(newest):
        return damaged("event-code-not-proved")
    try:
        return tenant_after(newest)
    except CredentialIntegrityError as error:
        return error
