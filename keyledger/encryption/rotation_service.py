"""Rotations of the encryption key in a running service, one at a time, each in a thread of its own.

Promises: every node reports on all rotations, from a shared table; a rotation can be cancelled on any node and stops
after its batch; a service that shuts down stops its rotation after the batch and records that. The rotation of a
service that is killed soon reads as interrupted. In each case the progress is in the log, and another rotation
continues where this one ended.
Refuses: a second rotation in this service while one runs.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from domain.credentials.command_batch import command_reused
from domain.errors import ConflictError, ErrorCode, ServiceError
from domain.events.event import CommandMeta
from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import KEYRING_STREAM, EncryptionKeyRetired, KeyRotationStarted
from domain.operations.rotation import KeyStatus, RotationState, RotationStatus
from keyledger.encryption.key_retirement import Retirer
from keyledger.encryption.removable_keys import KeyStatuses
from keyledger.encryption.rotation import RotationProgress, Rotator
from keyledger.encryption.rotation_rows import RotationRows

_log = logging.getLogger("keyledger.encryption.rotation")


Tell = Callable[[RotationProgress], None]


@dataclass
class RecordedRun:
    """One rotation, of which every batch is recorded in the table.

    `stop` may be set from anywhere, also from a signal handler: the rotation ends after its batch.
    """

    rotator: Rotator
    records: RotationRows
    stop: threading.Event = field(default_factory=threading.Event)
    _told_to_end: RotationState | None = field(default=None, init=False)

    def run(
        self, begun: KeyRotationStarted, meta: CommandMeta, tell: Tell = lambda progress: None
    ) -> tuple[RotationProgress, RotationState]:
        """Carry the rotation out and return how it ended. tell: called after each batch.

        Raises what `Rotator.run` raises, after recording the failure if the database still answers.
        """
        last = RotationProgress(begun.rotation_id, begun.key_id, begun.credentials)

        def watch(progress: RotationProgress) -> bool:
            nonlocal last
            last = progress
            tell(progress)
            if self.records.write(progress, RotationState.RUNNING):
                self._told_to_end = RotationState.CANCELLED
            elif self.stop.is_set():
                self._told_to_end = RotationState.INTERRUPTED
            return self._told_to_end is None

        try:
            progress = self.rotator.run(begun, meta, watch)
        except BaseException:
            self._note_failure(last)
            raise
        state = self._told_to_end or RotationState.COMPLETED
        self.records.write(progress, state)
        return progress, state

    def _note_failure(self, last: RotationProgress) -> None:
        try:
            self.records.write(last, RotationState.FAILED)
        except ServiceError:
            _log.warning("the failure of a rotation could not be recorded; it will read as interrupted")


@dataclass(frozen=True, slots=True)
class KeyWork:
    """The operations on the encryption keys of one ring."""

    statuses: KeyStatuses
    rotator: Rotator
    retirer: Retirer


class RotationService:
    """Implements `domain.operations.rotation.EncryptionKeys` for one running service."""

    def __init__(
        self,
        work: Callable[[], KeyWork],
        records: RotationRows,
        log: StreamLog,
    ) -> None:
        """work: returns those of the ring in force; a rotation keeps the ring that it began with."""
        self._work = work
        self._records = records
        self._log = log
        self._starting = threading.Lock()
        self._run: RecordedRun | None = None
        self._rotation_id: str | None = None
        self._thread: threading.Thread | None = None

    def keys(self) -> Sequence[KeyStatus]:
        """Return every key, the primary first. Raises StoreUnavailableError, CredentialIntegrityError."""
        return self._work().statuses.all()

    def start(self, meta: CommandMeta) -> RotationStatus:
        """Begin a rotation in the background, or return the one that the same command began.

        Raises ConflictError, StoreUnavailableError.
        """
        with self._starting:
            rotator = self._work().rotator
            begun = self._begun_by(meta) if meta.may_repeat else None
            if begun is None:
                self._require_none_runs()
                begun = rotator.begin(meta)
            if self._records.open(begun):
                self._run_beside(rotator, begun, meta)
            return self._records.one(begun.rotation_id)

    def rotations(self) -> Sequence[RotationStatus]:
        """Return the latest rotations, newest first. Raises StoreUnavailableError."""
        return self._records.latest()

    def rotation(self, rotation_id: str) -> RotationStatus:
        """Return one rotation. Raises NotFoundError, StoreUnavailableError."""
        return self._records.one(rotation_id)

    def cancel(self, rotation_id: str) -> RotationStatus:
        """Request a rotation to stop after its batch. Raises NotFoundError, StoreUnavailableError."""
        return self._records.cancel(rotation_id)

    def retire(self, key_id: str, meta: CommandMeta) -> EncryptionKeyRetired:
        """Record that a key can be destroyed, after checking that nothing needs it, which takes time.

        Raises ConflictError with all reasons against it, AccessError where a second person is missing,
        StoreUnavailableError.
        """
        if meta.may_repeat and (earlier := self._retired_by(meta)) is not None:
            self._log.confirm([earlier])
            if earlier.key_id != key_id:
                raise command_reused()
            return earlier
        retirer = self._work().retirer
        return retirer.carry_out(retirer.plan(key_id, lambda step, done, total: None), meta)

    def stop(self) -> None:
        """End a rotation of this service after its batch, and return once it ended."""
        with self._starting:
            run, thread = self._run, self._thread
        if run is not None and thread is not None:
            run.stop.set()
            thread.join()

    def _require_none_runs(self) -> None:
        if self._thread is None or not self._thread.is_alive() or self._rotation_id is None:
            return
        if self._records.one(self._rotation_id).state in {RotationState.RUNNING, RotationState.INTERRUPTED}:
            raise ConflictError(ErrorCode.ROTATION_REFUSED, "The rotation cannot start: this service already runs one.")
        self._thread.join()  # it is recorded as over, but its thread has a last step to take

    def _begun_by(self, meta: CommandMeta) -> KeyRotationStarted | None:
        started = (event for event in self._log.stream(KEYRING_STREAM) if isinstance(event, KeyRotationStarted))
        return next((event for event in started if event.command_id == meta.command_id), None)

    def _retired_by(self, meta: CommandMeta) -> EncryptionKeyRetired | None:
        retired = (event for event in self._log.stream(KEYRING_STREAM) if isinstance(event, EncryptionKeyRetired))
        return next((event for event in retired if event.command_id == meta.command_id), None)

    def _run_beside(self, rotator: Rotator, begun: KeyRotationStarted, meta: CommandMeta) -> None:
        self._run = run = RecordedRun(rotator, self._records)
        self._rotation_id = begun.rotation_id

        def work() -> None:
            try:
                _, state = run.run(begun, meta)
                _log.info("rotation %s %s", begun.rotation_id, state.value)
            except ServiceError as error:
                _log.error("rotation %s failed: %s", begun.rotation_id, error.code)
            except Exception as error:  # noqa: BLE001  its text may hold anything, so only its type is logged
                _log.error("rotation %s failed: %s", begun.rotation_id, type(error).__name__)

        # Daemon: a process that ends abruptly must not wait for it; its progress is in the log.
        self._thread = threading.Thread(target=work, name="key-rotation", daemon=True)
        self._thread.start()
