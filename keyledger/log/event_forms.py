"""The form in which this process writes events: the newest one that every node reads.

Promises: no event is written in a form that the database does not record, so a program that cannot read the log learns
that at its start. A form is recorded, and then written, only while every running node reads it
(`keyledger.encryption.form_agreement`). A log in its first form costs no statement.
"""

from typing import TypeVar

from psycopg_pool import ConnectionPool

from domain.audit.event_catalogue import EVENT_FORM
from domain.event_codec import decode, encode
from domain.events.event import Event
from domain.events.event_definition import FIRST_FORM
from projections.database.connections import BoundedConnection, Connection, unavailable
from projections.database.event_forms import newest_form, record_form

E = TypeVar("E", bound=Event)


class EventForms:
    """The forms of one process. reads: the newest form that this program reads."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], reads: int = EVENT_FORM) -> None:
        self._pool = pool
        self.reads = reads
        self._written = FIRST_FORM if reads == FIRST_FORM else None

    @property
    def written(self) -> int:
        """The form in which events are written. Raises StoreUnavailableError."""
        if self._written is None:
            with unavailable(), self._pool.connection() as connection:
                self._written = min(newest_form(connection)[0], self.reads)
        return self._written

    def as_written(self, event: E) -> E:
        """Return an event as it reads once it is stored, without what the written form cannot say.

        Raises StoreUnavailableError where the written form has no such event.
        """
        if self.written == self.reads:
            return event
        stored = encode(event, self.written)
        read = decode(event.originator_id, event.originator_version, event.TOPIC, stored)
        assert isinstance(read, type(event))  # noqa: S101  the topic is that of the class
        return read

    def raise_to(self, connection: Connection, form: int, release: str) -> int:
        """Record a form that every running node reads, and return the one to write once the transaction is committed.

        That is a newer one where the database records it already. The caller holds the lock of the nodes.
        """
        recorded, _ = newest_form(connection)
        if form > recorded:
            record_form(connection, form, release)
        return min(max(form, recorded), self.reads)

    def write(self, form: int) -> None:
        """Write events in a form from now on; it is recorded."""
        self._written = form
