"""The one call that appends: the statement, its arguments, and the events that it sends."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
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


class Stored(Protocol):
    """An event as the library stores it."""

    @property
    def originator_id(self) -> UUID | str:
        """The stream."""
        ...

    @property
    def originator_version(self) -> int:
        """The version in the stream."""
        ...

    @property
    def topic(self) -> str:
        """The kind of event."""
        ...

    @property
    def state(self) -> bytes:
        """The event's fields."""
        ...


def arguments_of(
    stored_events: Sequence[Stored], codes: EventCodes, earliest: str, rows: Sequence[dict[str, object]]
) -> list[Any]:
    """Return the arguments of `keyledger_append`. rows: of `current_credentials`."""
    coded = [
        codes.code(UUID(str(event.originator_id)), event.originator_version, event.topic, event.state)
        for event in stored_events
    ]
    return [
        [event.originator_id for event in stored_events],
        [event.originator_version for event in stored_events],
        [event.topic for event in stored_events],
        [event.state for event in stored_events],
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
