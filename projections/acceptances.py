"""Whether providers take credentials, as the log tells it last: the newest event of each acceptance stream."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg_pool import ConnectionPool

from domain.event import Event
from domain.event_codec import decode
from projections.postgres import BoundedConnection, unavailable

_NEWEST = """
SELECT wanted.stream, h.originator_version, h.topic, h.state
  FROM unnest(%s::uuid[]) AS wanted (stream)
 CROSS JOIN LATERAL (SELECT originator_version, topic, state FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h
"""


class PostgresAcceptances:
    """Reads the log. Nothing is cached: another node may have written a moment ago."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        """Return the newest event of each stream that has one. Raises StoreUnavailable, CredentialIntegrityError."""
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_NEWEST, [list(streams)]).fetchall()
        return {
            row["stream"]: decode(row["stream"], row["originator_version"], row["topic"], bytes(row["state"]))
            for row in rows
        }
