"""The library's recorder, with our one-call append on a given pool.

Promises: an insert is one statement in one transaction, read back before it counts. `acknowledged` knows the last one.
Refuses: to retry, and to believe a commit during which the database warned (`keyledger.log.confirmation`).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

from eventsourcing.persistence import InfrastructureFactory, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresFactory
from eventsourcing.utils import Environment
from psycopg_pool import ConnectionPool

from domain.event_code import LogRow
from keyledger.log.acknowledged import Acknowledged
from keyledger.log.append_call import APPEND, arguments_of, sent_of
from keyledger.log.confirmation import without_warning
from keyledger.log.read_back import ReadBack
from projections.database.connections import BoundedConnection


class OneCallRecorder(PostgresApplicationRecorder):
    """Inserts through the function `keyledger_append`. Reads as the library does, without its blind retries."""

    # The library retries a failed call ten times, which hides an outage and turns a lost answer into a conflict.
    select_events = PostgresApplicationRecorder.select_events.__wrapped__
    select_notifications = PostgresApplicationRecorder.select_notifications.__wrapped__
    max_notification_id = PostgresApplicationRecorder.max_notification_id.__wrapped__

    @cached_property
    def read_back(self) -> ReadBack:
        """The comparison of each append with what the log then holds."""
        return ReadBack()

    @cached_property
    def acknowledged(self) -> Acknowledged:
        """The last event that was stored."""
        return Acknowledged()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Insert the events and `view_rows`, read them back, and return the positions; None if a key was destroyed.

        Raises the library's persistence errors, and CredentialIntegrityError for an append that was not kept.
        """
        if not stored_events:
            return None
        events = [(UUID(str(one.originator_id)), one.originator_version, one.topic, one.state) for one in stored_events]
        columns = arguments_of(events, kwargs["codes"], kwargs["earliest"], kwargs["view_rows"])
        keys = kwargs["personal_keys"]
        with self.datastore.get_connection() as connection, without_warning(connection):
            # One statement in one message: a client that freezes cannot do so while it holds the writer lock.
            rows = connection.execute(APPEND, [keys, *columns, len(keys)]).fetchall()
            if rows[0]["live"] < len(keys):
                return None
            positions = [row["position"] for row in rows if row["position"] is not None]
            kept = connection.execute(self.read_back.statement(connection), [positions], binary=True)
            sent = list(sent_of(columns))
            self.read_back.require_kept(sent, positions, kept.fetchall())
        self.acknowledged.note(LogRow(positions[-1], *sent[-1]))
        return positions


class _Datastore(PostgresDatastore):
    """The library's datastore on a given pool. Its own constructor takes no connection string."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        super().__init__(dbname="", host="", port="", user="", password="")
        self.pool = pool  # type: ignore[assignment]  # the library's subclass adds a password callback only

    def register_type_adapters(self) -> None:
        """Register nothing: the append takes plain arrays, and the migration creates the table."""

    def close(self) -> None:
        """Leave the pool open: its creator closes it."""


class OneCallFactory(PostgresFactory):
    """The library's factory on a given pool."""

    application_recorder_class = OneCallRecorder

    def __init__(self, env: Environment, pool: ConnectionPool[BoundedConnection]) -> None:
        InfrastructureFactory.__init__(self, env)  # skips the constructor that would open a pool of its own
        self.datastore = _Datastore(pool)
