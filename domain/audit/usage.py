"""Who used a credential: calls counted by tenant, provider, version and hour, and how a reader pages through them.

Pages are in the order of `place`: oldest hour first, then tenant, provider and version. A record never changes place,
and what is written after its hour is over adds to it, so a cursor stays good for ever.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol, Self

from domain.credentials.providers import NAME_PATTERN

HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR_PATTERN = (
    "^([0-9]{1,7})[.]([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    f"[.]({NAME_PATTERN})[.]([0-9]{{1,18}})$"
)
"""What a cursor looks like. Every text that fits is one."""
_CURSOR = re.compile(CURSOR_PATTERN)


def hour_of(moment: datetime) -> datetime:
    """Return the first moment of the hour in UTC that a time is in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class UsagePlace(NamedTuple):
    """What a record is about, and its place among others. `version`: of the credential that was used."""

    hour: datetime
    tenant_id: str
    provider: str
    version: int

    def cursor(self) -> str:
        """Return the place as one word of letters, digits, dots and hyphens. The hour is counted from 1970."""
        return f"{(self.hour - _EPOCH) // HOUR}.{self.tenant_id}.{self.provider}.{self.version}"

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Return the place that a cursor names. Raises ValueError."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("not a place among the records of usage")
        hour, tenant_id, provider, version = match.groups()
        return cls(_EPOCH + int(hour) * HOUR, tenant_id, provider, int(version))


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """How often a version of a credential served within an hour.

    calls: requests that were sent with it, or that tried to. failures: those that did not end in a right answer.
    """

    place: UsagePlace
    calls: int
    failures: int
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which records a reader wants. Those of hours that begin at or after `since` and before `until`."""

    tenant_id: str | None = None
    provider: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: UsagePlace | None = None
    limit: int = 100


class UsageMeter(Protocol):
    """Counts who used a credential, and notices when a provider begins or ceases to refuse one."""

    def used(
        self,
        tenant_id: str,
        provider: str,
        version: int,
        *,
        failed: bool,
        rejected: bool,
        request_id: str | None = None,
    ) -> None:
        """Count a call with a tenant's credential that ended. Never blocks, never raises; any thread may call it.

        version: of the credential. failed: it got no right answer. rejected: the provider refused the key as invalid.
        request_id: of whoever caused the call, where it is known.
        """
        ...

    def waits(self) -> bool:
        """Say, without blocking, whether there is something to flush."""
        ...

    def flush(self) -> None:
        """Store what was counted and noticed. Blocks; raises StoreUnavailableError, and then everything is kept."""
        ...


class CredentialUsage(Protocol):
    """The records of who used a credential."""

    def page(self, wanted: UsageFilter) -> Sequence[UsageRecord]:
        """Return the records that fit, oldest hour first. Raises StoreUnavailableError."""
        ...
