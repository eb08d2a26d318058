"""The log, on the `eventsourcing` library: its application, event store, recorder and table, with our one-call append.

Promises: `append` stores events and the rows of the inline projections together, in the order of positions, in one call
to the database. Once it returns they survive a crash of any process and of the database. The process environment
influences nothing: no persistence, cipher, compressor or topic.
Every event gets its code (`domain.events.event_code`), and the time of the log never goes back: an event that would be
older than the last one gets the time of that one, and keeps the node's own time.
Refuses: an event that needs a second person and comes without the approval (`domain.approvals.needs`).
To retry. A commit whose answer was lost looks like a conflict or an outage, so the sender looks for its
command id, and believes what it finds only once `confirm` returns. To append from a node whose clock is more than five
seconds off the database's, and, once the log has codes, without a key. To read an event with a wrong code for a
command.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import EventStore, InfrastructureFactory, IntegrityError, Mapper, PersistenceError
from eventsourcing.utils import Environment
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from api.front.check_result import CheckResult
from domain.approvals.needs import Approval, require_approved
from domain.errors import CredentialIntegrityError, StoreUnavailableError, VersionConflictError
from domain.event_codec import decode
from domain.events.event import Event
from domain.events.event_code import NO_CODES, CodeState, EventCodes, LogRow, require_no_forgery
from domain.events.event_log import NOTHING_PRESUMED, Presumed
from domain.events.personal import Sealing
from keyledger.log.acknowledged import Acknowledged
from keyledger.log.append_errors import reason_of
from keyledger.log.confirmation import confirm
from keyledger.log.event_forms import EventForms
from keyledger.log.node_lease import elapsed
from keyledger.log.one_call_recorder import OneCallFactory, OneCallRecorder
from keyledger.log.projecting_store import ClosedMapper, ProjectingEventStore
from keyledger.log.statements import FIND_ALL, NEWEST
from projections.catch_up import read_stream
from projections.database.connections import EVENTS_TABLE, BoundedConnection, unavailable

FAILED_S = 30.0
"""Seconds for which a failed append makes the node not ready, if none succeeds."""


class CredentialLog(Application[UUID]):
    """The log of all credentials. Implements `domain.events.event_log.PresumingLog`."""

    name = EVENTS_TABLE.removesuffix("_events")

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        people: Sealing[Event],
        codes: EventCodes = NO_CODES,
        may_change: Callable[[], None] = lambda: None,
        approvals: Collection[Approval] = (),
    ) -> None:
        """pool: connections to a migrated database. It stays open when the log is closed. people: seals members.

        codes: authenticate what is appended and check what is read; may be replaced at any time. may_change: raises
        StoreUnavailableError while this process may not append. approvals: the commands that need a second person; may
        be replaced at any time.
        """
        self._pool = pool
        self._people = people
        self._may_change = may_change
        self._failed_at: float | None = None
        self.codes = codes
        self.approvals = approvals
        self.forms = EventForms(pool)
        super().__init__()

    def construct_env(self, name: str, env: Any = None) -> Environment:
        """Return fixed settings: the migration creates the tables, and `os.environ` is ignored."""
        return Environment(name, {"CREATE_TABLE": "n"})

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        """Return the factory on the given pool."""
        return OneCallFactory(env, self._pool)

    def construct_event_store(self) -> EventStore[UUID]:
        """Return the store that projects what it appends."""
        return ProjectingEventStore(self.mapper, self.recorder, lambda: self.codes, self._people)

    def construct_mapper(self) -> Mapper[UUID]:
        """Return the closed mapper, without cipher or compressor."""
        return ClosedMapper(self.forms)

    def note_restore(self, row: LogRow) -> None:
        """Check codes with an acceptance of a restore in mind that another process appended."""
        self.codes = self.codes.with_restore(row)

    def unkept(self) -> str:
        """Return how an append was not kept as it was sent; "" if every append was."""
        return self._own_recorder.read_back.unkept

    @property
    def acknowledged(self) -> Acknowledged:
        """The last event that was appended."""
        return self._own_recorder.acknowledged

    @property
    def _own_recorder(self) -> OneCallRecorder:
        assert isinstance(self.recorder, OneCallRecorder)  # noqa: S101  the factory makes no other
        return self.recorder

    def last(self, stream: UUID) -> Event | None:
        """Return the newest event of a stream. Raises StoreUnavailableError, CredentialIntegrityError."""
        return self.newest([stream]).get(stream)

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        """Return the newest event of each stream that has any.

        Raises StoreUnavailableError, CredentialIntegrityError.
        """
        return {row.stream: self._read(row) for row in self._newest_rows(list(set(streams)))}

    def presumed(self, streams: Sequence[UUID], *, read: bool = False) -> Presumed:
        """Return the newest event of each stream as this process last saw it; read what it has not seen, or all.

        Raises StoreUnavailableError, CredentialIntegrityError.
        """
        seen = self._own_recorder.last_seen
        rows = {} if read else seen.of(streams)
        missing = [stream for stream in dict.fromkeys(streams) if stream not in rows]
        found = {row.stream: row for row in self._newest_rows(missing)} if missing else {}
        fresh = {stream: found.get(stream) for stream in missing}
        try:
            events = {stream: self._read(row) for stream, row in {**rows, **fresh}.items() if row is not None}
        except CredentialIntegrityError:
            seen.forget(rows)
            raise
        seen.note(fresh)
        return Presumed(events, rows | fresh, remembered=bool(rows))

    def find_all(self, wanted: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Event]:
        """Return the first event of each command, by stream and command id.

        Raises StoreUnavailableError, CredentialIntegrityError.
        """
        columns = [[stream for stream, _ in wanted], [command_id for _, command_id in wanted]]
        rows = self._rows(FIND_ALL, columns)
        return {(row[1], row[-1]): self._read(LogRow._make(row[:-1])) for row in rows}

    def stream(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first. Raises StoreUnavailableError, CredentialIntegrityError."""
        with unavailable(), self._pool.connection() as connection:
            rows = read_stream(connection, stream)
        return [self._read(row) for row in rows]

    def proves(self, event: Event) -> bool:
        """Return whether the key of the code of a stream's newest event is configured, or the event is attested.

        Raises StoreUnavailableError.
        """
        stream = event.originator_id
        seen = self._own_recorder.last_seen.of([stream]).get(stream)
        if seen is not None and decode(stream, seen.version, seen.topic, seen.state) == event:
            return self.codes.check(seen).proves
        return all(self.codes.check(row).proves for row in self._newest_rows([stream]))

    def disowns(self, event: Event) -> bool:
        """Return whether the code of a stream's newest event is under a key that is unknown, which anyone can write.

        Raises StoreUnavailableError.
        """
        rows = self._newest_rows([event.originator_id])
        return any(self.codes.check(row) is CodeState.UNKNOWN_KEY for row in rows)

    def append(self, events: Sequence[Event], presumed: Mapping[UUID, LogRow | None] = NOTHING_PRESUMED) -> None:
        """Store the events with the rows of the inline projections.

        Raises AccessError where a second person is missing, VersionConflictError, StoreUnavailableError.
        """
        try:
            require_approved(events, self.approvals)
            self._may_change()
            self._append(events, presumed)
        except Exception:
            self._own_recorder.last_seen.forget(presumed)
            raise

    def _append(self, events: Sequence[Event], presumed: Mapping[UUID, LogRow | None]) -> None:
        try:
            self.events.put([self.forms.as_written(event) for event in events], presumed=presumed)
            self._failed_at = None
        except IntegrityError:
            raise VersionConflictError(events[0].originator_version, precondition=False) from None
        except PersistenceError as error:
            self._failed_at = elapsed()
            raise StoreUnavailableError(reason_of(error)) from None
        except StoreUnavailableError:
            self._failed_at = elapsed()
            raise

    def check(self) -> CheckResult:
        """Report whether the last append succeeded; a failure counts for `FAILED_S` seconds, unless one succeeds."""
        failed_at = self._failed_at
        if failed_at is None or elapsed() - failed_at > FAILED_S:
            return CheckResult(True, "accepted")
        return CheckResult(False, f"the last one failed {elapsed() - failed_at:.0f} s ago")

    def confirm(self, events: Sequence[Event]) -> None:
        """Require that a write is confirmed now, by a server that has the events. Raises StoreUnavailableError."""
        self._may_change()
        with unavailable(), self._pool.connection() as connection:
            confirm(connection, events)

    def _read(self, row: LogRow) -> Event:
        require_no_forgery(row, self.codes)
        return decode(row.stream, row.version, row.topic, row.state)

    def _newest_rows(self, streams: Sequence[UUID]) -> list[LogRow]:
        return [*map(LogRow._make, self._rows(NEWEST, [streams]))]

    def _rows(self, statement: LiteralString, columns: Sequence[object]) -> list[tuple[Any, ...]]:
        with unavailable(), self._pool.connection() as connection:
            return connection.cursor(row_factory=tuple_row, binary=True).execute(statement, columns).fetchall()
