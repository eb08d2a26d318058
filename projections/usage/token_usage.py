"""Tokens and cost of calls by the hour: counts that are added up in the database and read in pages.

Promises: each addition counts once (`additions`). Nodes that add to the same records wait for each other for
at most one statement, and never deadlock, because all of them take the records in the same order.
"""

from collections.abc import Sequence

from psycopg_pool import ConnectionPool

from domain.audit.token_usage import TokenFilter, TokenPlace, TokenRecord
from domain.calls.tokens import Tokens
from projections.database.connections import BoundedConnection, Row
from projections.usage.additions import add_once, was_added
from projections.usage.record_pages import Asked, page_of

_ADD = """
INSERT INTO token_usage AS known (hour, tenant_id, provider, version, access_key, model, currency, calls, failures,
                                  unknown, unpriced, input, output, cached, cache_creation, reasoning, cost,
                                  last_used_at)
SELECT * FROM unnest(%s::timestamptz[], %s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                     %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::bigint[], %s::bigint[], %s::numeric[], %s::timestamptz[])
           AS added (hour, tenant_id, provider, version, access_key, model, currency, calls, failures, unknown,
                     unpriced, input, output, cached, cache_creation, reasoning, cost, last_used_at)
 ORDER BY hour, tenant_id, provider, version, access_key COLLATE "C", model COLLATE "C", currency COLLATE "C"
    ON CONFLICT (hour, tenant_id, provider, version, access_key, model, currency) DO UPDATE SET
       calls = known.calls + excluded.calls, failures = known.failures + excluded.failures,
       unknown = known.unknown + excluded.unknown, unpriced = known.unpriced + excluded.unpriced,
       input = known.input + excluded.input, output = known.output + excluded.output,
       cached = known.cached + excluded.cached, cache_creation = known.cache_creation + excluded.cache_creation,
       reasoning = known.reasoning + excluded.reasoning, cost = known.cost + excluded.cost,
       last_used_at = greatest(known.last_used_at, excluded.last_used_at)
"""


class PostgresTokenUsage:
    """Adds to the records and reads them. Implements `domain.audit.token_usage.TokenUsage`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def add(self, records: Sequence[TokenRecord]) -> str | None:
        """Add calls, tokens and cost up, for all records or none; at most `BATCH` of them. As `add_once`."""
        return add_once(self._pool, _ADD, [_columns(record) for record in records])

    def was_added(self, transaction: str) -> bool:
        """Say whether an addition took effect. Raises StoreUnavailableError while that is undecided."""
        return was_added(self._pool, transaction)

    def page(self, wanted: TokenFilter) -> Sequence[TokenRecord]:
        """Return the matching records, oldest hour first. Raises StoreUnavailableError."""
        tests = (
            ("tenant_id = %s", wanted.tenant_id),
            ("provider = %s", wanted.provider),
            ("version = %s", wanted.version),
            ("access_key = %s", wanted.access_key),
            ("model = %s", wanted.model),
            ("hour >= %s", wanted.since),
            ("hour < %s", wanted.until),
        )
        rows = page_of(self._pool, "token_usage", TokenPlace._fields, Asked(tests, wanted.after, wanted.limit))
        return [_record(row) for row in rows]


def _columns(record: TokenRecord) -> Sequence[object]:
    counts = (record.calls, record.failures, record.unknown, record.unpriced)
    return (*record.place, *counts, *record.tokens, record.cost, record.last_used_at)


def _record(row: Row) -> TokenRecord:
    place = TokenPlace(
        row["hour"],
        str(row["tenant_id"]),
        row["provider"],
        row["version"],
        row["access_key"],
        row["model"],
        row["currency"],
    )
    tokens = Tokens(*(row[name] for name in Tokens._fields))
    counts = (row["calls"], row["failures"], row["unknown"], row["unpriced"])
    return TokenRecord(place, *counts, tokens, row["cost"], row["last_used_at"])
