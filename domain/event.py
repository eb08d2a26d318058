"""What every event of the log carries, whatever it is about: who asked, in which role, from where and why."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Protocol, TypedDict
from uuid import UUID

UNKNOWN = "unknown"
"""The role or source of an event from before these were recorded."""


class CommandSource(StrEnum):
    """Which door a command came through. `rotation`: an encryption key is rotated. `service`: a service by itself."""

    API = "api"
    CLI = "cli"
    CONSOLE = "console"
    ROTATION = "rotation"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class CommandMeta:
    """Who asks, and which request it is. `command_id` makes the command happen once however often it is sent.

    may_repeat: the caller chose the command id and may have sent it before.
    role: of the key that was presented, or `operator` for who works on the database itself. source: see
    `CommandSource`. client_address: of the peer, without a port; None where there is none. reason: the caller's words.
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
    """Something that happened. `originator_*` are the event store's words for stream and version.

    TOPIC: the name under which it is stored, for ever; never a Python path.
    """

    TOPIC: ClassVar[str]
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


class EventEnvelope(TypedDict):
    """The members of every event, to be given to the constructor of one."""

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
    """Return the members that an event caused by the command of `meta` has at this place in its stream."""
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
    """Returns the time now, in UTC."""

    def __call__(self) -> datetime: ...


def utc_now() -> datetime:
    """Return the time of this machine: the `Clock` of everything that runs."""
    return datetime.now(UTC)
