"""Encryption keys and their rotation in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from domain.errors import ConflictError, ErrorCode
from domain.events.event import Clock, CommandMeta
from domain.operations.encryption_keys import KEYRING_STREAM, EncryptionKeyRetired, RotationCounts, replay, retire
from domain.operations.rotation import KeyState, KeyStatus, RotationState, RotationStatus, Unopened, rotation_not_found
from tests.support.twins.log import MemoryLog

INTRODUCED = datetime(2026, 1, 31, 12, tzinfo=UTC)


class MemoryEncryptionKeys:
    """Implements `domain.operations.rotation.EncryptionKeys` for two keys.

    A rotation completes as it starts, unless `held`; a test then ends it. obstacle: why none may start.
    """

    def __init__(self, clock: Clock, log: MemoryLog | None = None) -> None:
        self._clock = clock
        self._log = log or MemoryLog()
        self.held = False
        self.obstacle = ""
        self.found: dict[str, RotationStatus] = {}
        self._begun: dict[str, str] = {}

    def keys(self) -> Sequence[KeyStatus]:
        reasons = "new ones are sealed under it", "no live credential needs it"
        return [
            KeyStatus("k0000000001", KeyState.PRIMARY, INTRODUCED, None, 2, 0, False, reasons[0]),
            KeyStatus("k0000000002", KeyState.PREVIOUS, INTRODUCED, None, 0, 3, True, reasons[1]),
        ]

    def start(self, meta: CommandMeta) -> RotationStatus:
        if meta.may_repeat and meta.command_id in self._begun:
            return self.found[self._begun[meta.command_id]]
        if self.obstacle:
            raise ConflictError(ErrorCode.ROTATION_REFUSED, self.obstacle)
        if any(one.state is RotationState.RUNNING for one in self.found.values()):
            raise ConflictError(ErrorCode.ROTATION_REFUSED, "this service already runs one")
        now = self._clock()
        begun = RotationStatus(
            str(uuid4()), "k0000000001", meta.actor, RotationState.RUNNING, 2, RotationCounts(), (), now, now, None
        )
        self.found[begun.rotation_id] = begun
        self._begun[meta.command_id] = begun.rotation_id
        return begun if self.held else self.end(begun.rotation_id, RotationState.COMPLETED)

    def retire(self, key_id: str, meta: CommandMeta) -> EncryptionKeyRetired:
        event = retire(replay(self._log.stream(KEYRING_STREAM)), key_id, 3, meta, self._clock())
        self._log.append([event])
        return event

    def end(self, rotation_id: str, state: RotationState) -> RotationStatus:
        """End a rotation that re-encrypted one credential and could not open the other."""
        now, before = self._clock(), self.rotation(rotation_id)
        unopened = (Unopened(str(uuid4()), "openai", "binding"),)
        self.found[rotation_id] = replace(
            before, state=state, counts=RotationCounts(1, 0, 1), unopened=unopened, updated_at=now, finished_at=now
        )
        return self.found[rotation_id]

    def rotations(self) -> Sequence[RotationStatus]:
        return list(reversed(self.found.values()))

    def rotation(self, rotation_id: str) -> RotationStatus:
        if rotation_id not in self.found:
            raise rotation_not_found()
        return self.found[rotation_id]

    def cancel(self, rotation_id: str) -> RotationStatus:
        found = self.rotation(rotation_id)
        return self.end(rotation_id, RotationState.CANCELLED) if found.state is RotationState.RUNNING else found
