"""The members that every event carries: who caused it, in which role, from where and why."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Protocol, Self, TypedDict, TypeVar
from uuid import UUID, uuid5

from domain.events.event_definition import EventDefinition

UNKNOWN = "unknown"
"""The role or source of a command that does not say."""
SERVICE = "service"
"""The role of the service where it acts of its own accord."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
_RECORDS = UUID("2f5c1c0a-6a0e-5b0d-8b1a-94d5b0a7e6c1")


class CommandSource(StrEnum):
    """How a command came in. `rotation`: from a rotation of the encryption key. `service`: from a service itself."""

    API = "api"
    CLI = "cli"
    CONSOLE = "console"
    ROTATION = "rotation"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class CommandMeta:
    """The caller of a command, and the request. A command with the same `command_id` takes effect once.

    causation_id: the command id of what caused this command, such as a rotation; None where a caller did.
    may_repeat: the caller chose the command id and may have sent it before.
    role: of the key that was presented, or `operator` for a command that works on the database directly. source: see
    `CommandSource`. client_address: of the peer, without a port; None if there is none. reason: as given.
    """

    actor: str
    request_id: str
    command_id: str
    may_repeat: bool = False
    role: str = UNKNOWN
    source: str = UNKNOWN
    client_address: str | None = None
    reason: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. originator_id: its stream. originator_version: its place in the stream, from 1.

    timestamp: in UTC; in the log it never goes back. node_time: the same as the node's own clock told it, RFC 3339 in
    UTC; earlier where another node with a clock ahead of it appended before. causation_id: as in `CommandMeta`.
    TOPIC: the name under which it is stored, for ever; never a Python path. Members may have the types `str`,
    `str | None`, `int` (a count) and `float` (seconds).
    """

    TOPIC: ClassVar[str]
    DEFINITION: ClassVar[EventDefinition]
    originator_id: UUID
    originator_version: int
    actor: str
    request_id: str
    command_id: str
    timestamp: datetime
    node_time: str
    role: str = UNKNOWN
    source: str = UNKNOWN
    client_address: str | None = None
    reason: str | None = None
    causation_id: str | None = None

    def at(self, time: datetime) -> Self:
        """Return the same event at another time. time: in UTC."""
        return replace(self, timestamp=time)

    def own_stream(self) -> UUID:
        """Return the only stream that an event with these members may be in."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent(Event):
    """An event that stands alone, in a stream named by its command id.

    So recording one never conflicts with anything, and one that is sent twice is stored once.
    """

    def own_stream(self) -> UUID:
        """Return the stream of the command's one record."""
        return record_stream(self.command_id)


def record_stream(command_id: str) -> UUID:
    """Return the stream of the one record that a command makes."""
    return uuid5(_RECORDS, command_id)


class EventEnvelope(TypedDict):
    """The members of every event, as arguments of its constructor."""

    originator_id: UUID
    originator_version: int
    actor: str
    request_id: str
    command_id: str
    timestamp: datetime
    node_time: str
    role: str
    source: str
    client_address: str | None
    reason: str | None
    causation_id: str | None


def envelope(stream: UUID, version: int, meta: CommandMeta, now: datetime) -> EventEnvelope:
    """Return the common members of an event that a command causes. version: in `stream`, from 1. now: in UTC."""
    return {
        "originator_id": stream,
        "originator_version": version,
        "actor": meta.actor,
        "request_id": meta.request_id,
        "command_id": meta.command_id,
        "timestamp": now,
        "node_time": time_text(now),
        "role": meta.role,
        "source": meta.source,
        "client_address": meta.client_address,
        "reason": meta.reason,
        "causation_id": meta.causation_id,
    }


E = TypeVar("E", bound=Event)


def in_order_of_time(events: Iterable[E], not_before: datetime) -> list[E]:
    """Return the events, each at its own time or at that of the one before it, whichever is later."""
    ordered: list[E] = []
    for event in events:
        ordered.append(event if event.timestamp >= not_before else event.at(not_before))
        not_before = ordered[-1].timestamp
    return ordered


def time_text(time: datetime) -> str:
    """Return the one spelling of a time in the log: RFC 3339 in UTC, with microseconds and +00:00."""
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(timespec="microseconds")


class Clock(Protocol):
    """The current time, in UTC."""

    def __call__(self) -> datetime:
        """Return the current time, in UTC."""


def utc_now() -> datetime:
    """Return the time of this machine: the `Clock` of everything that runs."""
    return datetime.now(UTC)
