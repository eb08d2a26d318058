"""Use of credentials: calls counted by tenant, provider, version and hour, and the pages that readers see.

Calls with the global key count as those of version 0, which no credential of a tenant has.

Pages are ordered by `place`: oldest hour first, then tenant, provider and version. A record never changes its place,
and calls counted after its hour are added to it, so a cursor stays valid for ever.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from domain.credentials.providers import NAME_PATTERN

if TYPE_CHECKING:  # it needs this module
    from domain.audit.token_usage import Spent

HOUR = timedelta(hours=1)
GLOBAL_KEY = 0
"""The version under which calls with the global key are counted."""
OTHERS = "00000000-0000-0000-0000-000000000000"
"""The tenant under which calls with the global key are counted once too many tenants use it within an hour."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR_PATTERN = (
    "^([0-9]{1,7})[.]([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    f"[.]({NAME_PATTERN})[.]([0-9]{{1,18}})$"
)
"""The form of a cursor. Every text of this form is one."""
_CURSOR = re.compile(CURSOR_PATTERN)


def hour_of(moment: datetime) -> datetime:
    """Return the start of the hour, in UTC, that contains a time."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class UsagePlace(NamedTuple):
    """The key of a record, and its place in the order. version: of the credential that was used, or `GLOBAL_KEY`."""

    hour: datetime
    tenant_id: str
    provider: str
    version: int

    def cursor(self) -> str:
        """Return the place as a cursor of letters, digits, dots and hyphens. Hours are counted from 1970 UTC."""
        return f"{(self.hour - _EPOCH) // HOUR}.{self.tenant_id}.{self.provider}.{self.version}"

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Return the place that a cursor stands for. Raises ValueError."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("not a place among the records of usage")
        hour, tenant_id, provider, version = match.groups()
        return cls(_EPOCH + int(hour) * HOUR, tenant_id, provider, int(version))


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """The calls with one version of a credential within an hour.

    calls: the number of requests sent with it, or attempted. failures: the number that got no successful answer.
    """

    place: UsagePlace
    calls: int
    failures: int
    last_used_at: datetime

    def plus(self, other: "UsageRecord") -> "UsageRecord":
        """Return the calls of both, which have one place."""
        last = max(self.last_used_at, other.last_used_at)
        return UsageRecord(self.place, self.calls + other.calls, self.failures + other.failures, last)


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """The records to read. since, until: bounds for the start of the hour; `since` is included, `until` is not."""

    tenant_id: str | None = None
    provider: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: UsagePlace | None = None
    limit: int = 100


class UsageMeter(Protocol):
    """Counts the use of credentials, and notices when a provider starts or stops rejecting one."""

    def used(
        self,
        tenant_id: str,
        provider: str,
        version: int,
        *,
        failed: bool,
        rejected: bool,
        request_id: str | None = None,
        spent: "Spent | None" = None,
    ) -> None:
        """Count a finished call. Never blocks or raises; may be called from any thread.

        version: of the tenant's credential, or `GLOBAL_KEY`. failed: the call got no successful answer. rejected: the
        provider rejected the key as invalid. request_id: of the request that caused the call, if known.
        spent: its tokens and cost; None for a call that cannot have any.
        """
        ...

    def waits(self) -> bool:
        """Return, without blocking, whether there is anything to flush."""
        ...

    def flush(self) -> None:
        """Store the counts and rejections. Blocks. On StoreUnavailableError they are kept for the next flush."""
        ...


class CredentialUsage(Protocol):
    """The records of credential use."""

    def page(self, wanted: UsageFilter) -> Sequence[UsageRecord]:
        """Return the records that match, oldest hour first. Raises StoreUnavailableError."""
        ...
