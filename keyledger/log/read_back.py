"""Reads back what an append wrote, once it is committed, and compares it with what was sent.

Promises: an append is acknowledged only if the log holds its events, byte for byte, at the positions returned. The
rows are read from the table itself, in the schema where it was first found, and compared here, so a replaced function
cannot vouch for itself. An append that differs is an error, is logged, and makes the service stop being ready until it
is restarted.
Reading after the commit also notices code that acts when a transaction commits, and holds no lock: a client that
freezes between the two statements delays no other writer. If the second one is not answered, the outcome is unknown, as
for any lost answer.
"""

import logging
from collections.abc import Iterable, Sequence
from operator import itemgetter
from uuid import UUID

from psycopg import sql

from domain.errors import CredentialIntegrityError
from projections.database.connections import EVENTS_TABLE, Connection, Row

_STATEMENT = """
SELECT originator_id, originator_version, topic, state, code_key_id, code, notification_id
  FROM {schema}.{table} WHERE notification_id = ANY (%b::bigint[])
"""
_HOME = (
    "SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::regclass"
)
Sent = tuple[UUID, int, str, bytes, str | None, bytes | None]
"""Stream, version, topic and state of an event, the key of its code, and the code."""

_log = logging.getLogger("keyledger.store")


class ReadBack:
    """Compares appends with what the log holds after them. unkept: how one differed, "" if none did."""

    def __init__(self) -> None:
        self._from: bytes | None = None
        self.unkept = ""

    def statement(self, connection: Connection) -> bytes:
        """Return the statement that reads the events at some positions, its only argument."""
        if self._from is None:
            row = connection.execute(_HOME, [EVENTS_TABLE]).fetchone() or {"nspname": "public"}
            names = {"schema": sql.Identifier(row["nspname"]), "table": sql.Identifier(EVENTS_TABLE)}
            self._from = sql.SQL(_STATEMENT).format(**names).as_bytes(connection)
        return self._from

    def require_kept(self, sent: Iterable[Sent], positions: Sequence[int], found: Sequence[Row]) -> None:
        """Require that the log holds the events at their positions. Raises CredentialIntegrityError."""
        wanted = list(sent)
        kept = [tuple(row.values()) for row in sorted(found, key=itemgetter("notification_id"))]
        if len(positions) != len(wanted) or kept != [(*event, at) for event, at in zip(wanted, positions, strict=True)]:
            self.unkept = "an append was not kept as it was sent: keyledger verify, then restart"
            _log.error(
                "an append of %d events was not kept as it was sent: it is not acknowledged, and this service is not"
                " ready; find out what changed the database, then restart it",
                len(wanted),
            )
            raise CredentialIntegrityError("append-not-kept")
