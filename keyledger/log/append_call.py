"""The one call that appends: the statement, its arguments, and the events that it sends."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from domain.event import utc_now
from domain.event_code import EventCodes
from keyledger.log.read_back import Sent

APPEND = """
SELECT keys.live, appended.position
  FROM (SELECT count(*) AS live FROM personal_keys WHERE reference = ANY (%s)) AS keys
  LEFT JOIN LATERAL (
       SELECT keyledger_append(%b, %b::bigint[], %b, %b, %s, %b::bytea[], %s, %b::timestamptz, %s::jsonb) AS position
        WHERE keys.live = %s) AS appended ON true
"""
"""Appends nothing if one of the keys that members are sealed under was destroyed before the statement.

Its arguments are those keys, what `arguments_of` returns, and the number of the keys. Arrays are sent in binary form:
as text, the states alone would cost client and server more than the insert.
"""
_TO_JSON = json.JSONEncoder(default=str)


def arguments_of(
    events: Sequence[tuple[UUID, int, str, bytes]], codes: EventCodes, earliest: str, rows: Sequence[dict[str, object]]
) -> list[Any]:
    """Return the arguments of `keyledger_append`.

    events: stream, version, topic and state of each. rows: of the inline projections.
    """
    coded = [codes.code(*event) for event in events]
    return [
        *map(list, zip(*events, strict=True)),
        codes.primary_id,
        [code.mac for code in coded if code is not None] or None,
        earliest,
        utc_now(),
        _TO_JSON.encode(rows),
    ]


def sent_of(columns: Sequence[Any]) -> Iterator[Sent]:
    """Yield the events of an append from the arguments of `keyledger_append`."""
    streams, versions, topics, states, key_id, coded = columns[:6]
    codes = coded or [None] * len(streams)
    for stream, version, topic, state, code in zip(streams, versions, topics, states, codes, strict=True):
        yield stream, version, topic, state, key_id, code
