"""Events as rows of the log, as they are stored without a key."""

from domain.event_codec import encode
from domain.events.event import Event
from domain.events.event_code import LogRow


def row_of(position: int, event: Event) -> LogRow:
    return LogRow(position, event.originator_id, event.originator_version, event.TOPIC, encode(event), None, None)
