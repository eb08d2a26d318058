"""Whether an event that waited for a second person may still follow, as far as other streams and the time decide.

The version of its own stream is compared by the approval itself. Refuses what the command would be refused now: a
deletion by a frozen tenant's own admin, and an access key that would have expired.
"""

from datetime import datetime

from domain.access.access_key import AccessKeyEvent
from domain.access.roles import Role
from domain.credentials.credential import CredentialDeleted
from domain.errors import InvalidField, InvalidRequestError
from domain.events.event import Clock, Event
from domain.events.event_log import EventLog
from domain.tenants.stored import damaged, tenant_after
from domain.tenants.tenant import tenant_stream


class StillAllowed:
    """The rules. log: where the operator's rules for tenants are read."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def __call__(self, event: Event) -> None:
        """Raise UnresolvableError, InvalidRequestError, CredentialIntegrityError for an event that may not follow."""
        if isinstance(event, CredentialDeleted) and event.role != Role.SYSADMIN:
            self._require_free(event.tenant_id)
        if isinstance(event, AccessKeyEvent):
            for name in ("expires_at", "previous_until"):
                time = getattr(event, name)
                if time is not None and datetime.fromisoformat(time) <= self._clock():
                    raise InvalidRequestError([InvalidField(name, "has passed by now: reject this and propose again")])

    def _require_free(self, tenant_id: str) -> None:
        newest = self._log.last(tenant_stream(tenant_id))
        if newest is None:
            return
        if not self._log.proves(newest):
            raise damaged("event-code-not-proved")
        tenant_after(newest).require_free()
