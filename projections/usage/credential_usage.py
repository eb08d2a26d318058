"""Credential use by the hour: counts that are added up in the database and read in pages.

Promises: each addition counts once (`additions`). Nodes that add to the same records wait for each other for
at most one statement, and never deadlock, because all of them take the records in the same order.
"""

from collections.abc import Sequence

from psycopg_pool import ConnectionPool

from domain.audit.usage import UsageFilter, UsagePlace, UsageRecord
from projections.database.connections import BoundedConnection, Row
from projections.usage.additions import add_once, was_added
from projections.usage.record_pages import Asked, page_of

_ADD = """
INSERT INTO credential_usage AS known (hour, tenant_id, provider, version, calls, failures, last_used_at)
SELECT * FROM unnest(%s::timestamptz[], %s::uuid[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::timestamptz[]) AS added (hour, tenant_id, provider, version, calls, failures, last_used_at)
 ORDER BY hour, tenant_id, provider, version
    ON CONFLICT (tenant_id, provider, version, hour) DO UPDATE SET
       calls = known.calls + excluded.calls, failures = known.failures + excluded.failures,
       last_used_at = greatest(known.last_used_at, excluded.last_used_at)
"""


class PostgresCredentialUsage:
    """Adds to the records and reads them. Implements `domain.audit.usage.CredentialUsage`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def add(self, records: Sequence[UsageRecord]) -> str | None:
        """Add calls and failures up, and keep the latest time, for all records or none; at most `BATCH` of them.

        Return None once they are added; the transaction when its outcome is unknown and `was_added` has to be asked.
        Raises StoreUnavailableError when nothing was added.
        """
        return add_once(self._pool, _ADD, [_columns(record) for record in records])

    def was_added(self, transaction: str) -> bool:
        """Say whether an addition took effect. Raises StoreUnavailableError while that is undecided."""
        return was_added(self._pool, transaction)

    def page(self, wanted: UsageFilter) -> Sequence[UsageRecord]:
        """Return the matching records, oldest hour first. Raises StoreUnavailableError."""
        tests = (
            ("tenant_id = %s", wanted.tenant_id),
            ("provider = %s", wanted.provider),
            ("hour >= %s", wanted.since),
            ("hour < %s", wanted.until),
        )
        rows = page_of(self._pool, "credential_usage", UsagePlace._fields, Asked(tests, wanted.after, wanted.limit))
        return [_record(row) for row in rows]


def _columns(record: UsageRecord) -> Sequence[object]:
    return (*record.place, record.calls, record.failures, record.last_used_at)


def _record(row: Row) -> UsageRecord:
    place = UsagePlace(row["hour"], str(row["tenant_id"]), row["provider"], row["version"])
    return UsageRecord(place, row["calls"], row["failures"], row["last_used_at"])
