"""Reads back what an append wrote, once it is committed, and compares it with what was sent.

Promises: an append is acknowledged only if the log holds its events, byte for byte, at the positions returned. The
rows are read from the table itself, in the schema where it was first found, and compared here, so a replaced function
cannot vouch for itself. An append that differs is an error, is logged, and makes the service stop being ready until it
is restarted.
The reading is a transaction of its own after the append's, and leaves with it (`projections.database.round_trip`). It
also notices code that acts when a transaction commits, and holds no lock: a client that freezes before the answer
delays no other writer. It looks events up as a reader of their streams does, so it needs no position beforehand. If it
is not answered, the outcome is unknown, as for any lost answer.
"""

import logging
from collections.abc import Sequence
from struct import pack

from psycopg import sql
from psycopg.pq.abc import PGresult

from domain.errors import CredentialIntegrityError
from domain.events.event_code import LogRow
from projections.database.connections import EVENTS_TABLE, BoundedConnection
from projections.database.numbered import Statement
from projections.database.round_trip import Step

_STATEMENT = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.code_key_id, e.code
  FROM unnest(%s::uuid[], %s::bigint[]) AS sent (stream, version)
  JOIN {schema}.{table} AS e ON e.originator_id = sent.stream AND e.originator_version = sent.version
 ORDER BY e.notification_id
"""
_HOME = (
    "SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::regclass"
)

_log = logging.getLogger("keyledger.store")


class ReadBack:
    """Compares appends with what the log holds after them. unkept: how one differed, "" if none did."""

    def __init__(self) -> None:
        self._statement: Statement | None = None
        self.unkept = ""

    def step(self, connection: BoundedConnection, streams: bytes, versions: bytes) -> Step:
        """Return what reads the events of some versions of streams. streams, versions: arrays in binary form."""
        if self._statement is None:
            row = connection.execute(_HOME, [EVENTS_TABLE]).fetchone() or {"nspname": "public"}
            names = {"schema": sql.Identifier(row["nspname"]), "table": sql.Identifier(EVENTS_TABLE)}
            self._statement = Statement("read_back", sql.SQL(_STATEMENT).format(**names).as_string(connection))
        return Step(self._statement, [streams, versions])

    def require_kept(self, appended: Sequence[LogRow], sent: int, found: PGresult) -> None:
        """Require that the log holds all of so many events at their positions. Raises CredentialIntegrityError."""
        columns = range(found.nfields)
        kept = [[found.get_value(nth, column) for column in columns] for nth in range(found.ntuples)]
        if len(appended) != sent or kept != [_as_stored(row) for row in appended]:
            self.unkept = "an append was not kept as it was sent: keyledger verify, then restart"
            _log.error(
                "an append of %d events was not kept as it was sent: it is not acknowledged, and this service is not"
                " ready; find out what changed the database, then restart it",
                sent,
            )
            raise CredentialIntegrityError("append-not-kept")


def _as_stored(row: LogRow) -> list[bytes | None]:
    """Return the columns of a row in their binary form."""
    key_id = None if row.code_key_id is None else row.code_key_id.encode()
    return [
        pack("!q", row.position),
        row.stream.bytes,
        pack("!q", row.version),
        row.topic.encode(),
        row.state,
        key_id,
        row.code,
    ]
