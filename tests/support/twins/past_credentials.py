"""Past credentials in memory."""

from collections.abc import Sequence
from datetime import datetime

from domain.credentials.secret import Sealer
from domain.credentials.service import CredentialService
from domain.credentials.stored import CredentialStatus
from tests.support.twins.current_credentials import MemoryCurrentCredentials
from tests.support.twins.log import MemoryLog
from tests.support.twins.usage import MemoryUsage


class MemoryPastCredentials:
    """Implements `domain.credentials.stored.PastCredentials`: lists what the log and the usage showed at that time."""

    def __init__(self, log: MemoryLog, usage: MemoryUsage, sealer: Sealer) -> None:
        self._log = log
        self._usage = usage
        self._sealer = sealer

    def of_tenant(self, tenant_id: str, at: datetime) -> Sequence[CredentialStatus]:
        self._log.answer()
        log, usage = MemoryLog(), MemoryUsage()
        log.events = [event for event in self._log.events if event.timestamp <= at]
        usage.records = {place: record for place, record in self._usage.records.items() if record.last_used_at <= at}
        return CredentialService(log, MemoryCurrentCredentials(log, usage), self._sealer, lambda: at).of_tenant(
            tenant_id
        )
