"""The records of usage in memory."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from domain.audit.usage import UsageFilter, UsagePlace, UsageRecord
from domain.errors import StoreUnavailableError


class MemoryUsage:
    """Implements `domain.audit.usage.CredentialUsage` on a dictionary. down: nothing answers."""

    def __init__(self) -> None:
        self.records: dict[UsagePlace, UsageRecord] = {}
        self.down = False

    def add(self, records: Sequence[UsageRecord]) -> None:
        self._answer()
        for one in records:
            known = self.records.get(one.place, UsageRecord(one.place, 0, 0, one.last_used_at))
            last = max(known.last_used_at, one.last_used_at)
            self.records[one.place] = UsageRecord(
                one.place, known.calls + one.calls, known.failures + one.failures, last
            )

    def was_added(self, transaction: str) -> bool:
        raise AssertionError(transaction)  # an addition here is never in doubt

    def last(self, tenant_id: str, provider: str, version: int, upto: datetime | None = None) -> datetime | None:
        """Return when a version or a later one was last used; upto: leave out later calls."""
        uses = [
            record.last_used_at
            for place, record in self.records.items()
            if (place.tenant_id, place.provider) == (tenant_id, provider) and place.version >= version
        ]
        return max((used for used in uses if upto is None or used <= upto), default=None)

    def page(self, wanted: UsageFilter) -> Sequence[UsageRecord]:
        self._answer()
        fitting = (
            place
            for place in sorted(self.records)
            if wanted.tenant_id in {None, place.tenant_id}
            and wanted.provider in {None, place.provider}
            and (wanted.since is None or place.hour >= wanted.since)
            and (wanted.until is None or place.hour < wanted.until)
            and (wanted.after is None or place > wanted.after)
        )
        return [self.records[place] for place in islice(fitting, wanted.limit)]

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailableError
