"""Prepares events that were decided for the append: seals, times and encodes them, and projects their rows.

Promises: no append can bypass the rows of the inline projections, the gates that keep API keys out of the log and seal
what is personal, or the code of an event. Events get their final time here: one that would be older than the last one
of the log gets the time of that one, and keeps the node's own time.
Refuses: to read or write a kind of event that is not in the registry of `domain.event_codec`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    ApplicationRecorder,
    DatabaseError,
    EventStore,
    JSONTranscoder,
    Mapper,
    PersistenceError,
    Recording,
    StoredEvent,
)

from domain.credentials.recording import recordable
from domain.event_codec import decode, encode
from domain.events.event import Event, time_text, utc_now
from domain.events.event_code import EventCodes
from domain.events.personal import Sealing
from keyledger.log.append_errors import time_of_head
from keyledger.log.event_forms import EventForms
from keyledger.log.log_time import LogTime
from projections.access_keys import ACCESS_KEYS
from projections.credentials.current_credentials import CURRENT_CREDENTIALS
from projections.inline import InlineProjection
from projections.tenants import TENANTS

_INLINE: Sequence[InlineProjection[Any]] = (CURRENT_CREDENTIALS, ACCESS_KEYS, TENANTS)
_TRIES = 8  # to append while other nodes append in between


class ClosedMapper(Mapper[UUID]):
    """Maps typed events to rows by the closed registry of `domain.event_codec`.

    The library's own mapper imports any module that a stored topic names, and skips validation.
    """

    def __init__(self, forms: EventForms) -> None:
        super().__init__(JSONTranscoder())
        self._forms = forms

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Return the row of an event."""
        if not isinstance(domain_event, Event):
            raise TypeError(f"{type(domain_event).__name__} is not in the registry")
        state = encode(domain_event, self._forms.written)
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, domain_event.TOPIC, state)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Return the event of a row. Raises CredentialIntegrityError."""
        stream = UUID(str(stored_event.originator_id))
        return decode(stream, stored_event.originator_version, stored_event.topic, stored_event.state)


class ProjectingEventStore(EventStore[UUID]):
    """Computes the rows of the inline projections and the codes of the events, so that no append can bypass them.

    For the same reason, events pass the gates here that keep API keys out of the log and seal what is personal, and get
    their final time.
    """

    def __init__(
        self,
        mapper: Mapper[UUID],
        recorder: ApplicationRecorder,
        codes: Callable[[], EventCodes],
        people: Sealing[Event],
    ) -> None:
        """people: seals personal members."""
        super().__init__(mapper, recorder)
        self._codes = codes
        self._people = people
        self._time = LogTime(utc_now)

    def put(self, domain_events: Sequence[DomainEventProtocol[UUID]], **kwargs: Any) -> list[Recording[UUID]]:
        """Store the events together with the projection's rows."""
        clear = [recordable(event) for event in domain_events if isinstance(event, Event)]
        if not clear:
            return []
        sealed, keys = self._people.sealed(clear)
        crossings = 0
        for _ in range(_TRIES):
            events = self._time.stamp(sealed, crossings)
            try:
                stored = self._insert(events, keys, kwargs)
            except DatabaseError as error:
                head = time_of_head(error)
                if head is None:
                    raise
                self._time.crossed(head)
                crossings += 1
                continue
            if stored:
                self._time.stored(events[-1].timestamp)
                return []  # recordings are for followers within a process; ours follow the log
            self._people.forget()
            sealed, keys = self._people.sealed(clear)
        raise PersistenceError("other nodes appended, or erased people, in between each time")

    def _insert(self, events: Sequence[Event], keys: Sequence[str], kwargs: Mapping[str, Any]) -> bool:
        """Insert the events; return whether they are stored: not if a key of their members was destroyed meanwhile."""
        positions = self.recorder.insert_events(
            [*map(self.mapper.to_stored_event, events)],
            view_rows=[row for projection in _INLINE for row in projection.rows(events)],
            earliest=time_text(events[0].timestamp),
            codes=self._codes(),
            personal_keys=keys,
            **kwargs,
        )
        return bool(positions)
