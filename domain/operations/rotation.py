"""Rotation of the encryption key, in the words of those who watch it: states of keys, states of rotations.

Nothing here is the progress itself: that is the log alone. A rotation that was killed is started again and goes on
where the log says it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.errors import ErrorCode, NotFoundError
from domain.event import CommandMeta
from domain.operations.encryption_keys import RotationCounts


class KeyState(StrEnum):
    """What an encryption key is to the service that is asked."""

    PRIMARY = "primary"
    PREVIOUS = "previous"
    RETIRED = "retired"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One encryption key.

    live: credentials in use that are sealed under it. superseded: secrets in history that only it opens.
    reason: why it may or may not be removed, for people.
    """

    key_id: str
    state: KeyState
    introduced_at: datetime | None
    retired_at: datetime | None
    live: int
    superseded: int
    safe_to_remove: bool
    reason: str


class RotationState(StrEnum):
    """Where a rotation is. Interrupted: whoever ran it stopped telling; start another and it goes on."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Unopened:
    """A credential that a rotation could not open and left as it is. `reason` is a code."""

    tenant_id: str
    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """One rotation. `total`: credentials that were under other keys when it began; later ones may come on top.

    unopened: the first of those that failed. finished_at: None while it runs.
    """

    rotation_id: str
    key_id: str
    actor: str
    state: RotationState
    total: int
    counts: RotationCounts
    unopened: Sequence[Unopened]
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class EncryptionKeys(Protocol):
    """What an operator does with encryption keys through a running service."""

    def keys(self) -> Sequence[KeyStatus]:
        """Return every key the log, the ring or a live credential knows; the primary first."""
        ...

    def start(self, meta: CommandMeta) -> RotationStatus:
        """Begin a rotation to the primary key in the background.

        Raises ConflictError with what stands in its way.
        """
        ...

    def rotations(self) -> Sequence[RotationStatus]:
        """Return the latest rotations, newest first."""
        ...

    def rotation(self, rotation_id: str) -> RotationStatus:
        """Return one rotation, whichever node runs it. Raises NotFoundError."""
        ...

    def cancel(self, rotation_id: str) -> RotationStatus:
        """Ask a rotation to stop after its batch, whichever node runs it. Raises NotFoundError."""
        ...


def rotation_not_found() -> NotFoundError:
    """Return the error for an id that no rotation has."""
    return NotFoundError(ErrorCode.ROTATION_NOT_FOUND, "There is no rotation of this id.")
