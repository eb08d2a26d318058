"""Confirmed writes: what a read shows counts only once a later write was confirmed by the same server.

A server whose standby does not answer shows commits that the standby lacks, and that a failover takes back: those whose
wait was cancelled, or that a crash made visible. The WAL has one order, so when a standby confirms a commit, it has
everything that the server showed before.
Promises: `confirm` returns only after a commit that the server confirmed as its settings demand, made in the statement
that found the events. It leaves no row: the write is a message in the WAL. It takes the writer lock, so that while a
standby is away one session waits for it, and the others for the lock, which ends with their time limits.
Refuses: a commit with a warning, which is how PostgreSQL reports that a standby did not confirm; and events that this
server does not have, because they were read from another.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg.errors import Diagnostic

from domain.errors import StoreUnavailableError
from domain.events.event import Event
from projections.database.connections import Connection

# The setting holds until the statement's own transaction ends, so it governs its commit.
_CONFIRM = """
SELECT keyledger_lock_log() AS alone,
       CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', true) END AS durable,
       pg_logical_emit_message(true, 'keyledger', '') IS NOT NULL AS written,
       (SELECT count(*)
          FROM unnest(%s::uuid[], %s::bigint[], %s::text[]) AS wanted (stream, version, command_id)
          JOIN keyledger_events AS e ON e.originator_id = wanted.stream AND e.originator_version = wanted.version
         WHERE convert_from(e.state, 'UTF8')::jsonb ->> 'command_id' = wanted.command_id) AS found
"""

_log = logging.getLogger("keyledger.store")


def confirm(connection: Connection, events: Sequence[Event] = ()) -> None:
    """Require that a write is confirmed now by a server whose log holds the events. Raises StoreUnavailableError."""
    wanted = {(event.originator_id, event.originator_version, event.command_id) for event in events}
    columns = [[one[place] for one in wanted] for place in range(3)]
    with without_warning(connection):
        row = connection.execute(_CONFIRM, columns).fetchone()
    if row is None or row["found"] != len(wanted):
        raise StoreUnavailableError


@contextmanager
def without_warning(connection: Connection) -> Iterator[None]:
    """Require that the database warns of nothing in the block. Raises StoreUnavailableError at its end."""
    warnings: list[str] = []

    def note(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.sqlstate or "none")

    connection.add_notice_handler(note)
    try:
        yield
    finally:
        connection.remove_notice_handler(note)
    if warnings:
        _log.warning("the database warned during a write, sqlstate %s: it is not confirmed", warnings[0])
        raise StoreUnavailableError
