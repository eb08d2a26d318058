"""Replay of projections, as operators see it.

An interrupted replay leaves the live projection unchanged; start another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from domain.errors import ConflictError, ErrorCode, NotFoundError
from domain.events.event import CommandMeta, RecordEvent, envelope, record_stream
from domain.events.event_definition import UPDATE, ActionDefinition, EventDefinition, Subject


class Swap(StrEnum):
    """When the copy takes the place of the live projection."""

    IF_EQUAL = "if-equal"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Difference:
    """One row in which the live projection and the copy differ. what: missing, unexpected or changed.

    tenant_id, provider: None if the row is not about a credential. position: the first position of the log that the row
    shows; None if it shows a state.
    """

    what: str
    tenant_id: str | None
    provider: str | None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of a replay.

    position: of the log, up to which the copy shows it. events: the number replayed. rows: the number in the copy.
    difference_count: of all rows that differ. differences: the first of them. swapped: whether the copy replaced the
    live projection.
    """

    projection: str
    position: int
    events: int
    rows: int
    difference_count: int
    differences: tuple[Difference, ...]
    swapped: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """A projection and its distance from the head of the log. rows: estimated by the database if there are millions.

    stopped: why it no longer follows the log; None while it does.
    """

    name: str
    position: int
    head: int
    rows: int
    stopped: str | None

    @property
    def lag(self) -> int:
        """The number of events that the projection does not show yet."""
        return max(0, self.head - self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionReplayed(RecordEvent):
    """A projection was replayed. replayed_to: position in the log. result: `swapped`, or `kept` for the live one."""

    TOPIC: ClassVar[str] = "ProjectionReplayed"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.PROJECTION,
        ActionDefinition("projection-replayed", "a projection has been computed again from the log", UPDATE),
    )
    projection: str
    result: str
    replayed_to: int
    rows: int
    differences: int


def projection_replayed(
    meta: CommandMeta, now: datetime, projection: str, *, swapped: bool, replayed_to: int, rows: int, differences: int
) -> ProjectionReplayed:
    """Return the record of a replay. swapped: the copy replaced the live projection."""
    return ProjectionReplayed(
        **envelope(record_stream(meta.command_id), 1, meta, now),
        projection=projection,
        result="swapped" if swapped else "kept",
        replayed_to=replayed_to,
        rows=rows,
        differences=differences,
    )


class ReplayState(StrEnum):
    """The state of a replay. Interrupted: the process that ran it is gone; the live projection is unchanged."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """One replay of a service. done, total: numbers of events. result: None until it is completed.

    failure: why it failed, as a sentence; None unless it did.
    """

    replay_id: str
    projection: str
    actor: str
    swap: Swap
    state: ReplayState
    done: int
    total: int
    result: ReplayResult | None
    failure: str | None
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class Projections(Protocol):
    """An operator's work with projections through a running service."""

    def list(self) -> Sequence[ProjectionStatus]:
        """Return the status of every projection."""
        ...

    def start(self, projection: str, swap: Swap, meta: CommandMeta) -> ReplayStatus:
        """Start a replay in the background, or return the one that the same command started.

        Raises NotFoundError, ConflictError.
        """
        ...

    def replay(self, projection: str, replay_id: str) -> ReplayStatus:
        """Return one replay, run by any node. Raises NotFoundError."""
        ...


def unknown_projection(known: Sequence[str]) -> NotFoundError:
    """Return the error for a name that no projection has."""
    return NotFoundError(
        ErrorCode.UNKNOWN_PROJECTION, f"There is no such projection. Known projections: {', '.join(known)}."
    )


def replay_not_found() -> NotFoundError:
    """Return the error for an id that no replay of the projection has."""
    return NotFoundError(ErrorCode.REPLAY_NOT_FOUND, "There is no replay with this id.")


def replay_conflict(obstacle: str) -> ConflictError:
    """Return the error for a projection that cannot be replayed or swapped now. obstacle: in full sentences."""
    return ConflictError(ErrorCode.REPLAY_CONFLICT, obstacle)


def replay_running(projection: str) -> ConflictError:
    """Return the error for a projection that is being replayed already."""
    return replay_conflict(f"A replay of {projection} is already running. Wait for it to end.")
