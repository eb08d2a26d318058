"""Rotation: re-encrypts every live credential under the primary key, while the service keeps working.

Promises: progress is recorded only in the log. The work list is what is still under another key, so a rotation that was
killed at any point can be run again with the same result; several at once do no harm. Each event of a rotation carries
the rotation's id as its command id, and the command that started it as its cause. Batches are described in
`keyledger.encryption.reencryption`.
Refuses: to start while a running service does not know the primary key. A credential that cannot be opened is reported
and left unchanged; the others continue.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import uuid4

from psycopg_pool import ConnectionPool

from domain.errors import ConflictError, ErrorCode
from domain.events.event import Clock, CommandMeta, CommandSource, Event
from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import (
    KEYRING_STREAM,
    KeyRotationStarted,
    Keys,
    RotationCounts,
    complete_rotation,
    replay,
    start_rotation,
)
from domain.operations.rotation import Unopened
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import live_nodes
from keyledger.encryption.reencryption import LocalReencryption, Reencryption, Sealed
from keyledger.log.decided_append import append_decided
from projections.credentials.current_credentials import count_under_other_keys
from projections.database.connections import BoundedConnection

SHOWN_UNOPENED = 100


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """A rotation before it starts. credentials: how many it would re-encrypt. obstacles: why it cannot start."""

    key_id: str
    credentials: int
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RotationProgress:
    """How far a rotation is. unopened: the first `SHOWN_UNOPENED` credentials that failed."""

    rotation_id: str
    key_id: str
    total: int
    counts: RotationCounts = field(default_factory=RotationCounts)
    unopened: tuple[Unopened, ...] = ()


Watch = Callable[[RotationProgress], bool]
"""Called after each batch; returns whether to continue."""
Attest = Callable[[CommandMeta], None]
"""Attests the log under the present key, so that the codes of events no longer need the former ones."""

E = TypeVar("E", bound=Event)


class Rotator:
    """Re-encrypts live credentials under the primary key of a ring."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        log: StreamLog,
        keyring: Keyring,
        clock: Clock,
        sealing: Reencryption | None = None,
        attest: Attest = lambda meta: None,
    ) -> None:
        """sealing: does the work; by default this process, at full speed. attest: attests the log at the end."""
        self._pool = pool
        self._log = log
        self._keyring = keyring
        self._clock = clock
        self._attest = attest
        self._sealing = sealing or LocalReencryption(pool, log, keyring, clock)

    def plan(self) -> RotationPlan:
        """Return what a rotation would do. Raises StoreUnavailableError."""
        primary = self._keyring.primary_id
        behind = [node.name for node in live_nodes(self._pool, self._keyring) if primary not in node.key_ids]
        obstacles = tuple(f"the service {name} does not know the key {primary}" for name in behind)
        return RotationPlan(primary, count_under_other_keys(self._pool, primary), obstacles)

    def begin(self, meta: CommandMeta) -> KeyRotationStarted:
        """Record the start of a rotation. Raises ConflictError, StoreUnavailableError."""
        plan = self.plan()
        if plan.obstacles:
            raise ConflictError(
                ErrorCode.ROTATION_REFUSED,
                f"The rotation cannot start: {'; '.join(plan.obstacles)}."
                " Give that service the key with keyledger keys add-next and keyledger reload, or stop it.",
            )
        rotation_id = str(uuid4())

        def started(keys: Keys) -> KeyRotationStarted:
            return start_rotation(keys, rotation_id, plan.key_id, plan.credentials, meta, self._clock())

        return append_to_keyring(self._log, started)

    def run(self, begun: KeyRotationStarted, meta: CommandMeta, watch: Watch) -> RotationProgress:
        """Carry out a rotation that began, until nothing is left or `watch` returns False.

        Raises StoreUnavailableError and what the sealing raises; what was re-encrypted until then stays.
        """
        progress = RotationProgress(begun.rotation_id, begun.key_id, begun.credentials)
        if not watch(progress):
            return progress
        caused = replace(meta, causation_id=begun.command_id)
        own = replace(caused, command_id=begun.rotation_id, source=CommandSource.ROTATION.value)
        with closing(self._sealing(own)) as batches:
            for done in batches:
                progress = _after(progress, done)
                if not done.again and not watch(progress):
                    return progress
        counts = progress.counts
        append_to_keyring(self._log, lambda keys: complete_rotation(keys, begun, counts, caused, self._clock()))
        self._attest(caused)
        return progress


def _after(progress: RotationProgress, done: Sealed) -> RotationProgress:
    if done.again:
        return replace(progress, counts=replace(progress.counts, failed=0), unopened=())
    before, more = progress.counts, done.counts
    counts = RotationCounts(
        before.reencrypted + more.reencrypted, before.skipped + more.skipped, before.failed + more.failed
    )
    return replace(progress, counts=counts, unopened=(*progress.unopened, *done.unopened)[:SHOWN_UNOPENED])


def append_to_keyring(log: StreamLog, decide_next: Callable[[Keys], E]) -> E:
    """Append the event decided from the keyring's stream; decide again when another event was appended meanwhile."""
    (event,) = append_decided(log, lambda: [decide_next(replay(log.stream(KEYRING_STREAM)))])
    return event
