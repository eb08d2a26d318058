"""The contract of the append-only log."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.events.event import Event
from domain.events.event_code import LogRow

NOTHING_PRESUMED: Mapping[UUID, LogRow | None] = {}


class Presumed(NamedTuple):
    """The newest events of streams, to decide on.

    rows: as the log holds them, None for a stream without any. remembered: whether any was not read just now.
    """

    events: Mapping[UUID, Event]
    rows: Mapping[UUID, LogRow | None]
    remembered: bool = False


class EventLog(Protocol):
    """The append-only log. Raises StoreUnavailableError when the database does not answer."""

    def last(self, stream: UUID) -> Event | None:
        """Return the newest event of a stream, or None if it has none."""
        ...

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        """Return the newest event of each stream that has one, read in one statement."""
        ...

    def find_all(self, wanted: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Event]:
        """Return the first event of each wanted stream and command id that exists, read in one statement."""
        ...

    def proves(self, event: Event) -> bool:
        """Return whether the code of a stream's newest event can be checked. A wrong one cannot be read at all."""
        ...

    def disowns(self, event: Event) -> bool:
        """Return whether anyone could have written a stream's newest event.

        Its code is under a key that is not configured, and that no operator retired or declared lost.
        """
        ...

    def confirm(self, events: Sequence[Event]) -> None:
        """Require that the store confirms a write now, after the events, which were read.

        Until then a read proves nothing: a failover may take back what it showed, such as the event of a command whose
        answer was lost. Raises StoreUnavailableError.
        """
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Store the events and their rows of the current projection together, or nothing.

        Keys in their texts are masked first (`domain.credentials.recording`).

        Once it returns, they survive a crash. Raises VersionConflictError when a version is taken (also when the same
        command was stored and its answer lost: look for the command id) and StoreUnavailableError when the outcome is
        unknown: look for the command id, then `confirm`.
        """
        ...


class PresumingLog(EventLog, Protocol):
    """A log that spares a decision its reading, where the append then checks what was presumed."""

    def presumed(self, streams: Sequence[UUID], *, read: bool = False) -> Presumed:
        """Return the newest event of each stream as this process last saw it; read what it has not seen.

        read: read all of them. What is decided on events that were remembered counts once an append that names them
        has stored something.
        """
        ...

    def append(self, events: Sequence[Event], presumed: Mapping[UUID, LogRow | None] = NOTHING_PRESUMED) -> None:
        """Store the events as `EventLog.append` does. presumed: the newest events of streams that were decided on.

        Raises VersionConflictError also where one of those streams has another newest event.
        """
        ...


class StreamLog(PresumingLog, Protocol):
    """A log that also reads whole streams."""

    def stream(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first."""
        ...
