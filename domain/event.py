"""The members that every event carries: who caused it, in which role, from where and why."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Protocol, TypedDict
from uuid import UUID, uuid5

from domain.event_definition import EventDefinition
from domain.upcasting import UNKNOWN

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. originator_id: its stream. originator_version: its place in the stream, from 1.

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
    role: str = UNKNOWN
    source: str = UNKNOWN
    client_address: str | None = None
    reason: str | None = None

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
    role: str
    source: str
    client_address: str | None
    reason: str | None


def envelope(stream: UUID, version: int, meta: CommandMeta, now: datetime) -> EventEnvelope:
    """Return the common members of an event that a command causes. version: in `stream`, from 1. now: in UTC."""
    return {
        "originator_id": stream,
        "originator_version": version,
        "actor": meta.actor,
        "request_id": meta.request_id,
        "command_id": meta.command_id,
        "timestamp": now,
        "role": meta.role,
        "source": meta.source,
        "client_address": meta.client_address,
        "reason": meta.reason,
    }


class Clock(Protocol):
    """The current time, in UTC."""

    def __call__(self) -> datetime:
        """Return the current time, in UTC."""


def utc_now() -> datetime:
    """Return the time of this machine: the `Clock` of everything that runs."""
    return datetime.now(UTC)
