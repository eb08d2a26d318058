"""Rotation of the encryption key, as operators see it: the status of keys and of rotations.

The log alone holds the progress. After a crash, a new rotation continues from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.errors import ErrorCode, NotFoundError
from domain.events.event import CommandMeta
from domain.operations.encryption_keys import EncryptionKeyRetired, RotationCounts


class KeyState(StrEnum):
    """The role of an encryption key in the service that answers."""

    PRIMARY = "primary"
    PREVIOUS = "previous"
    RETIRED = "retired"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One encryption key.

    live: the number of live credentials sealed under it. superseded: the number of old secrets in the log that only it
    opens. reason: why it may or may not be removed, as a sentence.
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
    """The state of a rotation. Interrupted: the process that ran it is gone; start another to continue."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Unopened:
    """A credential that a rotation could not open and left unchanged. reason: a code."""

    tenant_id: str
    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """One rotation.

    total: the number of credentials under other keys when it started; more may be set while it runs. unopened: the
    first of those that failed. finished_at: None while it runs.
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
    """An operator's work with encryption keys through a running service."""

    def keys(self) -> Sequence[KeyStatus]:
        """Return every key in the log, in the keyring or of a live credential; the primary first."""
        ...

    def start(self, meta: CommandMeta) -> RotationStatus:
        """Start a rotation to the primary key in the background.

        Raises ConflictError with the reasons against it.
        """
        ...

    def rotations(self) -> Sequence[RotationStatus]:
        """Return the latest rotations, newest first."""
        ...

    def rotation(self, rotation_id: str) -> RotationStatus:
        """Return one rotation, run by any node. Raises NotFoundError."""
        ...

    def retire(self, key_id: str, meta: CommandMeta) -> EncryptionKeyRetired:
        """Record that a key can be destroyed, after checking that nothing needs it.

        Raises ConflictError with all reasons against it, AccessError where a second person is missing.
        """
        ...

    def cancel(self, rotation_id: str) -> RotationStatus:
        """Ask a rotation, run by any node, to stop after its present batch. Raises NotFoundError."""
        ...


def rotation_not_found() -> NotFoundError:
    """Return the error for an id that no rotation has."""
    return NotFoundError(ErrorCode.ROTATION_NOT_FOUND, "There is no rotation with this id.")
