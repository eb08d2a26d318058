"""Use of access keys by the hour: counts that are added up in the database.

Promises: an addition takes effect as a whole or not at all. Nodes that add to the same records never deadlock, because
all of them take the records in the same order.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from psycopg_pool import ConnectionPool

from domain.access.key_usage import KeyHour, KeyHours
from projections.database.connections import BoundedConnection, unavailable

_ADD = """
INSERT INTO access_key_usage AS known (name, hour, requests, last_used_at)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[], %s::timestamptz[])
           AS added (name, hour, requests, last_used_at) ORDER BY name, hour
    ON CONFLICT (name, hour) DO UPDATE SET
       requests = known.requests + excluded.requests,
       last_used_at = greatest(known.last_used_at, excluded.last_used_at)
"""
_LAST = """
SELECT wanted.name, u.last_used_at FROM unnest(%s::text[]) AS wanted (name)
 CROSS JOIN LATERAL (SELECT last_used_at FROM access_key_usage AS one
                      WHERE one.name = wanted.name ORDER BY one.hour DESC LIMIT 1) AS u
"""
_HOURS = """
SELECT name, hour, requests, last_used_at FROM access_key_usage
 WHERE name = %s AND hour >= coalesce(%s::timestamptz, '-infinity') AND hour < coalesce(%s::timestamptz, 'infinity')
 ORDER BY hour LIMIT %s
"""


class PostgresKeyUsage:
    """Adds to the records and reads them. Raises StoreUnavailableError."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def add(self, records: Sequence[KeyHour]) -> None:
        """Add requests up, and keep the latest time."""
        columns = [
            [one.name for one in records],
            [one.hour for one in records],
            [one.requests for one in records],
            [one.last_used_at for one in records],
        ]
        with unavailable(), self._pool.connection() as connection:
            connection.execute(_ADD, columns)

    def last_used(self, names: Sequence[str]) -> Mapping[str, datetime]:
        """Return when each key was last used, for those that were."""
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_LAST, [list(names)]).fetchall()
        return {row["name"]: row["last_used_at"] for row in rows}

    def hours(self, wanted: KeyHours) -> Sequence[KeyHour]:
        """Return the hours in which a key was used, oldest first."""
        values = [wanted.name, wanted.since, wanted.until, wanted.limit]
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_HOURS, values).fetchall()
        return [KeyHour(row["name"], row["hour"], row["requests"], row["last_used_at"]) for row in rows]
