"""The projection of access keys: from the digest of a token to the newest event of its key.

Promises: rows are written in the transaction of their events, so the projection is never behind the log. Every read
also reads the head of the stream that a row names, in the same statement and snapshot, so a row that was changed, put
back or pointed elsewhere is detected by `domain.access.admission`. Rows hold digests of tokens, never a token.
"""

from collections.abc import Callable, Sequence
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.access.access_key import AccessKey, AccessKeyEvent
from domain.credentials.admission import TokenRow
from domain.events.event_code import LogRow
from projections.database.combined_reads import CombinedReads, Sends
from projections.database.connections import BoundedConnection, unavailable
from projections.database.numbered import Statement, text_array
from projections.database.pipeline import Rows
from projections.inline import Columns, InlineProjection

TABLE = "access_keys"
COLUMNS = ("name", "version", "digest", "previous", "stream_id")

CALLER_COLUMNS: LiteralString = (
    "k.version, k.digest, k.previous, a.notification_id, a.originator_id, a.originator_version, a.topic, a.state,"
    " a.code_key_id, a.code"
)
"""The columns of a token's row and of the head of its stream, for `token_row`."""
_HEAD: LiteralString = """
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = k.stream_id ORDER BY originator_version DESC LIMIT 1) AS a ON true
"""
CALLER_JOINS: LiteralString = f"""
  LEFT JOIN LATERAL (SELECT * FROM access_keys AS one
                      WHERE one.digest = wanted.digest OR one.previous = wanted.digest LIMIT 1) AS k ON true
{_HEAD}"""  # noqa: S608  ours
"""The joins that find them for `wanted.digest`."""

_BY_DIGEST: LiteralString = (
    f"SELECT {CALLER_COLUMNS} FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (digest, nth) {CALLER_JOINS}"  # noqa: S608  ours
    " ORDER BY wanted.nth"
)
_TOKENS = Statement("tokens", _BY_DIGEST)
_BY_STREAM: LiteralString = (
    f"SELECT {CALLER_COLUMNS} FROM (SELECT) AS always LEFT JOIN access_keys AS k ON k.stream_id = %s {_HEAD}"  # noqa: S608  ours
)
_PAGE: LiteralString = (
    f"SELECT {CALLER_COLUMNS} FROM (SELECT * FROM access_keys WHERE name > %s ORDER BY name LIMIT %s) AS k {_HEAD}"  # noqa: S608  ours
    " ORDER BY k.name"
)


def project(event: AccessKeyEvent) -> Columns:
    """Return the row that shows a key after `event`, by column."""
    return {
        "name": event.access_key,
        "version": event.originator_version,
        "digest": event.token_sha256,
        "previous": event.previous_sha256,
        "stream_id": event.originator_id,
    }


ACCESS_KEYS = InlineProjection(TABLE, {"name": "text"}, COLUMNS, AccessKeyEvent, project)


def token_row(columns: Sequence[Any]) -> TokenRow | None:
    """Return what `CALLER_COLUMNS` say; None where no row has the digest."""
    version, digest, previous, *newest = columns
    if version is None:
        return None
    return TokenRow(version, digest, previous, LogRow._make(newest) if newest[0] is not None else None)


class PostgresAccessKeys:
    """Reads for administrators' requests. Implements `domain.access.service.AccessKeyList`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], read: Callable[[TokenRow], AccessKey]) -> None:
        """read: returns the key that a row and its newest event show; raises CredentialIntegrityError."""
        self._pool = pool
        self._read = read

    def by_id(self, key_id: UUID) -> AccessKey | None:
        """Return the key with an id. Raises StoreUnavailableError, CredentialIntegrityError."""
        found = self._found(_BY_STREAM, [key_id])
        return found[0] if found else None

    def by_digest(self, digest: str) -> AccessKey | None:
        """Return the key that a token of this digest is or was. Raises as `by_id` does."""
        found = self._found(_BY_DIGEST, [[digest]])
        return found[0] if found else None

    def page(self, after: str, limit: int) -> Sequence[AccessKey]:
        """Return keys by name. Raises as `by_id` does."""
        return self._found(_PAGE, [after, limit])

    def _found(self, statement: LiteralString, wanted: Sequence[object]) -> list[AccessKey]:
        with unavailable(), self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(statement, wanted).fetchall()
        return [self._read(row) for row in map(token_row, rows) if row is not None]


class PostgresTokens:
    """Reads for the event loop: what is known of a token. Reads that arrive together share a statement."""

    def __init__(self, pipeline: Sends, require_current: Callable[[], None] = lambda: None) -> None:
        """require_current: called after each read; raises StoreUnavailableError if it may not be relied on."""
        self._require_current = require_current
        self._reads = CombinedReads(pipeline, lambda digests: (_TOKENS, [text_array(digests).encode()]), self._found)

    async def read(self, digest: str) -> TokenRow | None:
        """Return the row of a token with this digest and the head of its stream. Raises StoreUnavailableError."""
        return await self._reads.read(digest)

    def _found(self, digests: Sequence[str], rows: Rows) -> Sequence[TokenRow | None]:
        self._require_current()
        return [token_row(row) for row in rows]
