"""The current credentials in memory."""

from collections.abc import Sequence

from domain.credentials.acceptance import AcceptanceEvent, CredentialRejected, acceptance_stream
from domain.credentials.credential import CredentialEvent, CredentialSet, stream_id
from domain.credentials.stored import Stored
from domain.events.event import Event
from tests.support.twins.log import MemoryLog
from tests.support.twins.usage import MemoryUsage


class MemoryCurrentCredentials:
    """Implements `domain.credentials.stored.CurrentCredentials` on a log. emptied: someone removed every row."""

    def __init__(self, log: MemoryLog, usage: MemoryUsage | None = None) -> None:
        self._log = log
        self._usage = usage or MemoryUsage()
        self.emptied = False

    def read(self, tenant_id: str, provider: str) -> Stored:
        stored, last = self._stored(tenant_id, provider), self._log.last(stream_id(tenant_id, provider))
        if last is None:
            return stored
        said = self._log.last(acceptance_stream(tenant_id, provider))
        answered = isinstance(said, AcceptanceEvent) and said.credential_version == last.originator_version
        return Stored(
            stored.row,
            stored.head,
            rejected=answered and isinstance(said, CredentialRejected),
            answered=answered,
            last_used_at=self._usage.last(tenant_id, provider, self._set_version(last)),
        )

    def read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        return [self._stored(*place) for place in places]

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        self._log.answer()
        events = (event for event in self._log.events if isinstance(event, CredentialEvent))
        providers = sorted({event.provider for event in events if event.tenant_id == tenant_id})
        found = [self.read(tenant_id, provider) for provider in providers]
        return [stored for stored in found if stored.row is not None and stored.row.sealed is not None]

    def _stored(self, tenant_id: str, provider: str) -> Stored:
        stored = Stored.of(self._log.last(stream_id(tenant_id, provider)))
        return Stored(None, stored.head) if self.emptied else stored

    def _set_version(self, last: Event) -> int:
        """Return the version at which the key and settings of `last` were set."""
        sets = [event for event in self._log.stream(last.originator_id) if isinstance(event, CredentialSet)]
        return max((event.originator_version for event in sets), default=last.originator_version)


class MemoryTenantCredentials:
    """Implements `domain.credentials.stored.TenantCredentials`: the same for the event loop."""

    def __init__(self, credentials: MemoryCurrentCredentials) -> None:
        self._credentials = credentials

    async def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        return self._credentials.of_tenant(tenant_id)
