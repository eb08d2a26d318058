"""What every event of the log carries, whatever it is about."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True)
class CommandMeta:
    """Who asks, and which request it is. `command_id` makes the command happen once however often it is sent.

    may_repeat: the caller chose the command id and may have sent it before.
    """

    actor: str
    request_id: str
    command_id: str
    may_repeat: bool = False


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
