"""Reads the newest events of streams for the event loop, from the log itself: no row stands between, so none can lie.

Promises: an answer is never older than its question; reads that arrive together share a statement.
"""

from collections.abc import Callable, Sequence
from typing import LiteralString
from uuid import UUID

from domain.events.event_code import LogRow
from projections.database.combined_reads import CombinedReads, Sends
from projections.database.numbered import Statement, text_array
from projections.database.pipeline import Rows

_HEADS: LiteralString = """
SELECT a.notification_id, a.originator_id, a.originator_version, a.topic, a.state, a.code_key_id, a.code
  FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (stream, nth)
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS a ON true
 ORDER BY wanted.nth
"""
_STATEMENT = Statement("stream-heads", _HEADS)


class StreamHeads:
    """Reads the newest event of a stream."""

    def __init__(self, pipeline: Sends, require_current: Callable[[], None] = lambda: None) -> None:
        """require_current: called after each read; raises StoreUnavailableError if it may not be relied on."""
        self._require_current = require_current
        self._reads = CombinedReads(pipeline, lambda ids: (_STATEMENT, [text_array(ids).encode()]), self._found)

    async def read(self, stream: UUID) -> LogRow | None:
        """Return the newest event of a stream; None where there is none. Raises StoreUnavailableError."""
        return await self._reads.read(str(stream))

    def _found(self, streams: Sequence[str], rows: Rows) -> Sequence[LogRow | None]:
        del streams
        self._require_current()
        return [LogRow._make(row) if row[0] is not None else None for row in rows]
