"""The library's recorder, with our one-call append on a given pool.

Promises: an insert is one statement in one transaction, read back before it counts, in the same round trip.
`acknowledged` knows the last one, and `last_seen` those of the streams on which a presumption held.
Refuses: to retry, and to believe a commit during which the database warned (`keyledger.log.confirmation`).
"""

from collections.abc import Sequence
from functools import cached_property
from struct import unpack
from typing import Any
from uuid import UUID

from eventsourcing.persistence import InfrastructureFactory, IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresFactory
from eventsourcing.utils import Environment
from psycopg_pool import ConnectionPool

from keyledger.log.acknowledged import Acknowledged
from keyledger.log.append_call import AppendCall
from keyledger.log.confirmation import without_warning
from keyledger.log.last_seen import LastSeen
from keyledger.log.read_back import ReadBack
from projections.database.connections import BoundedConnection
from projections.database.round_trip import in_one_trip


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

    @cached_property
    def last_seen(self) -> LastSeen:
        """The newest events of streams that a presumption was made on."""
        return LastSeen()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Insert the events and `view_rows`, read them back, and return the positions; None if a key was destroyed.

        presumed: the newest events of some streams.
        Raises the library's persistence errors, among them IntegrityError where one of them is another one now, and
        CredentialIntegrityError for an append that was not kept.
        """
        if not stored_events:
            return None
        events = [(UUID(str(one.originator_id)), one.originator_version, one.topic, one.state) for one in stored_events]
        call, keys, presumed = AppendCall(events, kwargs["codes"]), kwargs["personal_keys"], kwargs["presumed"]
        append = call.step(keys, presumed, kwargs["earliest"], kwargs["view_rows"])
        with self.datastore.get_connection() as connection, without_warning(connection):
            assert isinstance(connection, BoundedConnection)  # noqa: S101  the pool's
            answer, kept = in_one_trip(connection, append, self.read_back.step(connection, call.streams, call.versions))
            live, differing = (unpack("!q", answer.get_value(0, column) or b"")[0] for column in range(2))
            if live < len(keys):
                return None
            if differing:
                raise IntegrityError("the newest event of a stream is not the one that was presumed")
            places = (answer.get_value(nth, 2) for nth in range(answer.ntuples))
            rows = call.at([unpack("!q", place)[0] for place in places if place is not None])
            self.read_back.require_kept(rows, len(events), kept)
        self.acknowledged.note(rows[-1])
        self.last_seen.note({row.stream: row for row in rows if row.stream in presumed})
        return [row.position for row in rows]


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
