"""The append-only log, as the domain needs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from domain.event import Event


class EventLog(Protocol):
    """The append-only log. Raises StoreUnavailableError when the database does not answer."""

    def last(self, stream: UUID) -> Event | None:
        """Return the newest event of a stream."""
        ...

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        """Return the newest event of each stream that has any, all read in one statement."""
        ...

    def find_all(self, wanted: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Event]:
        """Return the events that commands caused, by stream and command id, all read in one statement."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Store the events and the current view together, or nothing.

        Texts pass the gate `domain.credentials.recording` first.

        Once it returns they survive a crash. Raises VersionConflictError when a version is taken (also when the same
        command was stored and its answer lost: look for the command id) and StoreUnavailableError when the outcome is
        unknown.
        """
        ...


class StreamLog(EventLog, Protocol):
    """A log that also reads whole streams."""

    def stream(self, stream: UUID) -> Sequence[Event]:
        """Return every event of a stream, oldest first."""
        ...
