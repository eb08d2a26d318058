"""The position of the log at a given time.

Events carry the clock of the node that wrote them, and clocks differ a little, so times do not always increase with
positions. The log at a time is everything up to the last event that is not later.
"""

from datetime import datetime

from psycopg.rows import tuple_row

from projections.catch_up import read_row
from projections.database.connections import Connection

_PAGE = 1_000
_BEFORE = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_events
 WHERE notification_id <= %s ORDER BY notification_id DESC LIMIT %s
"""


def position_at(connection: Connection, head: int, time: datetime) -> int:
    """Return the last position, not after `head`, of an event not later than `time`; 0 if all are later.

    Raises CredentialIntegrityError for an event that cannot be read.
    """
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        while rows := cursor.execute(_BEFORE, [head, _PAGE]).fetchall():
            for row in rows:
                if read_row(row).event.timestamp <= time:
                    return int(row[0])
            head = rows[-1][0] - 1
    return 0
