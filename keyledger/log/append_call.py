"""The one call that appends: the statement, its arguments, and the events that it sends."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from struct import pack
from uuid import UUID

from domain.events.event import utc_now
from domain.events.event_code import EventCodes, LogRow
from projections.database.numbered import Statement
from projections.database.round_trip import BIGINT, BYTEA, TEXT, UUID_TYPE, Step, array

_APPEND = Statement(
    "append",
    """
SELECT keys.live, differing.count AS differing, appended.position
  FROM (SELECT count(*) AS live FROM personal_keys WHERE reference = ANY (%(keys)s::text[])) AS keys
 CROSS JOIN (
       SELECT count(*)
         FROM unnest(%(presumed)s::uuid[], %(digests)s::bytea[]) AS presumed (stream, digest)
         LEFT JOIN LATERAL (
              SELECT sha256(convert_to(concat_ws(' ', notification_id, originator_version, coalesce(code_key_id, ''),
                                                 topic, octet_length(state), ''), 'UTF8')
                            || state || coalesce(code, '')) AS digest
                FROM keyledger_events WHERE originator_id = presumed.stream
               ORDER BY originator_version DESC LIMIT 1) AS newest ON true
        WHERE newest.digest IS DISTINCT FROM presumed.digest) AS differing
  LEFT JOIN LATERAL (
       SELECT keyledger_append(%(streams)s::uuid[], %(versions)s::bigint[], %(topics)s::text[], %(states)s::bytea[],
                               %(code_key_id)s, %(codes)s::bytea[], %(earliest)s, %(now)s::timestamptz,
                               %(rows)s::jsonb) AS position
        WHERE keys.live = %(live)s::bigint AND differing.count = 0) AS appended ON true
""",
)
"""Appends nothing if one of the keys that members are sealed under was destroyed before the statement, or if the newest
event of a stream is another one than was presumed.

An event that follows a presumed one and comes between this look and the writer lock takes its version, so that the
append is refused all the same.
"""
_TO_JSON = json.JSONEncoder(default=str)


class AppendCall:
    """One append. streams, versions: of its events, as arrays in binary form."""

    def __init__(self, events: Sequence[tuple[UUID, int, str, bytes]], codes: EventCodes) -> None:
        """events: stream, version, topic and state of each."""
        coded = [codes.code(*event) for event in events]
        self._code_key_id = codes.primary_id
        self._codes = [code.mac for code in coded if code is not None]
        self._events = events
        self.streams = array(UUID_TYPE, [stream.bytes for stream, _, _, _ in events])
        self.versions = array(BIGINT, [pack("!q", version) for _, version, _, _ in events])

    def step(
        self,
        keys: Sequence[str],
        presumed: Mapping[UUID, LogRow | None],
        earliest: str,
        rows: Sequence[dict[str, object]],
    ) -> Step:
        """Return the statement with its parameters.

        keys: references to those of personal members. presumed: the newest events of some streams, None where there is
        none. rows: of the inline projections.
        """
        key_id = self._code_key_id
        parameters: dict[str, bytes | None] = {
            "keys": array(TEXT, [key.encode() for key in keys]),
            "presumed": array(UUID_TYPE, [stream.bytes for stream in presumed]),
            "digests": array(BYTEA, map(_digest, presumed.values())),
            "streams": self.streams,
            "versions": self.versions,
            "topics": array(TEXT, [topic.encode() for _, _, topic, _ in self._events]),
            "states": array(BYTEA, [state for _, _, _, state in self._events]),
            "code_key_id": None if key_id is None else key_id.encode(),
            "codes": array(BYTEA, self._codes) if self._codes else None,
            "earliest": earliest.encode(),
            "now": utc_now().isoformat().encode(),
            "rows": _TO_JSON.encode(rows).encode(),
            "live": str(len(keys)).encode(),
        }
        return Step(_APPEND, [parameters[name] for name in _APPEND.names])

    def at(self, positions: Iterable[int]) -> list[LogRow]:
        """Return the rows of the events at these positions, as far as there are positions."""
        codes: Sequence[bytes | None] = self._codes or [None] * len(self._events)
        return [
            LogRow(position, *event, self._code_key_id, code)
            for position, event, code in zip(positions, self._events, codes, strict=False)
        ]


def _digest(row: LogRow | None) -> bytes | None:
    """Return what the database computes of an event that is the newest of its stream."""
    if row is None:
        return None
    head = f"{row.position} {row.version} {row.code_key_id or ''} {row.topic} {len(row.state)} "
    return sha256(b"".join((head.encode(), row.state, row.code or b""))).digest()
