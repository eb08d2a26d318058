"""Rotation: every live credential sealed under the primary key, while everything else goes on.

Promises: nothing but the log is the progress. The work list is what is still under another key, so a rotation that was
killed at any point is run again and ends with the same result; several at once do no harm. Each credential's event
expects the version it was read at: whoever sets or deletes meanwhile wins, and is not overwritten. A batch is one
transaction, so nobody waits longer than a batch.
Refuses: to start while a running service does not know the primary key. A credential that cannot be opened is reported
and left as it is; the rest goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import uuid4

from psycopg_pool import ConnectionPool

from domain.credential import Credential, CredentialEvent, ReencryptCredential, decide, evolve, stream_id
from domain.encryption_keys import (
    KEYRING_STREAM,
    KeyRotationStarted,
    Keys,
    RotationCounts,
    complete_rotation,
    replay,
    start_rotation,
)
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFound,
    RotationRefused,
    UnreadableCredential,
    VersionConflict,
)
from domain.event import CommandMeta, CommandSource, Event
from domain.ports import Clock, StreamLog
from domain.rotation import Unopened
from keyledger.keyring import Keyring
from keyledger.nodes import live_nodes
from projections.current_credentials import read_under_other_keys
from projections.postgres import BoundedConnection, unavailable

BATCH = 100
"""Credentials for one transaction: nearly full speed, and other writers wait some milliseconds."""
_TRIES = 8
SHOWN_UNOPENED = 100


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """What a rotation would do. `obstacles` say why it may not start."""

    key_id: str
    credentials: int
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RotationProgress:
    """Where a rotation is. `unopened` lists the first `SHOWN_UNOPENED` of those that failed."""

    rotation_id: str
    key_id: str
    total: int
    counts: RotationCounts = field(default_factory=RotationCounts)
    unopened: tuple[Unopened, ...] = ()


Watch = Callable[[RotationProgress], bool]
"""Told of each batch; answers whether to go on."""

_Place = tuple[str, str]
E = TypeVar("E", bound=Event)


@dataclass
class _Batch:
    """What was computed for one batch before it is written."""

    events: list[CredentialEvent] = field(default_factory=list)
    unopened: list[Unopened] = field(default_factory=list)
    gone: int = 0
    last: _Place | None = None


class Rotator:
    """Seals live credentials under the primary key of a ring."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], log: StreamLog, keyring: Keyring, clock: Clock) -> None:
        self._pool = pool
        self._log = log
        self._keyring = keyring
        self._clock = clock

    def plan(self) -> RotationPlan:
        """Say what a rotation would do. Raises StoreUnavailable."""
        primary = self._keyring.primary_id
        behind = [node.name for node in live_nodes(self._pool) if primary not in node.key_ids]
        obstacles = tuple(f"the service {name} does not know the key {primary}" for name in behind)
        with unavailable(), self._pool.connection() as connection:
            row = connection.execute(
                "SELECT count(*) AS n FROM current_credentials WHERE token IS NOT NULL AND key_id <> %s", [primary]
            ).fetchone()
        return RotationPlan(primary, row["n"] if row else 0, obstacles)

    def begin(self, meta: CommandMeta) -> KeyRotationStarted:
        """Record the start of a rotation. Raises RotationRefused, StoreUnavailable."""
        plan = self.plan()
        if plan.obstacles:
            raise RotationRefused(
                f"The rotation may not start: {'; '.join(plan.obstacles)}."
                " Give it the key in ENCRYPTION_KEY_PREVIOUS and restart it, or stop it."
            )
        rotation_id = str(uuid4())

        def started(keys: Keys) -> KeyRotationStarted:
            return start_rotation(keys, rotation_id, plan.key_id, plan.credentials, meta, self._clock())

        return append_to_keyring(self._log, started)

    def run(self, begun: KeyRotationStarted, meta: CommandMeta, watch: Watch) -> RotationProgress:
        """Carry out a rotation that began, until nothing is left or `watch` says stop.

        Raises StoreUnavailable; what was sealed until then stays.
        """
        progress = RotationProgress(begun.rotation_id, begun.key_id, begun.credentials)
        going = watch(progress)
        while going:
            before = progress.counts
            for batch in self._batches(meta):
                progress = self._write(progress, batch, meta)
                going = watch(progress)
                if not going:
                    return progress
            # Services with the former primary may have sealed more meanwhile: go through again until nothing moves.
            moved = replace(progress.counts, failed=0) != replace(before, failed=0)
            if not moved:
                break
            progress = replace(progress, counts=replace(progress.counts, failed=0), unopened=())
        if going:
            append_to_keyring(
                self._log, lambda keys: complete_rotation(keys, begun, progress.counts, meta, self._clock())
            )
        return progress

    def _batches(self, meta: CommandMeta) -> Iterator[_Batch]:
        """Yield batches; the next one is computed while the last one is written."""
        with ThreadPoolExecutor(1, "rotation") as ahead:
            coming = ahead.submit(self._prepare, None, meta)
            while (batch := coming.result()).last is not None:
                coming = ahead.submit(self._prepare, batch.last, meta)
                yield batch

    def _prepare(self, after: _Place | None, meta: CommandMeta) -> _Batch:
        batch = _Batch()
        for stored in read_under_other_keys(self._pool, self._keyring.primary_id, after, BATCH):
            row = stored.row
            if row is None:
                continue
            batch.last = (row.tenant_id, row.provider)
            try:
                batch.events += self._reencrypted(stored.current(), meta)
            except CredentialNotFound:
                batch.gone += 1
            except (CredentialIntegrityError, UnreadableCredential) as fault:
                batch.unopened.append(Unopened(row.tenant_id, row.provider, fault.reason))
        return batch

    def _reencrypted(self, state: Credential | None, meta: CommandMeta) -> Sequence[CredentialEvent]:
        if state is None:
            raise CredentialNotFound("", "")
        own = CommandMeta(
            meta.actor,
            meta.request_id,
            str(uuid4()),
            role=meta.role,
            source=CommandSource.ROTATION.value,
            client_address=meta.client_address,
            reason=meta.reason,
        )
        command = ReencryptCredential(state.tenant_id, state.provider, own)
        return decide(state, command, self._clock(), self._keyring)

    def _write(self, progress: RotationProgress, batch: _Batch, meta: CommandMeta) -> RotationProgress:
        counts = progress.counts
        unopened = list(batch.unopened)
        done, skipped = len(batch.events), batch.gone
        try:
            if batch.events:
                self._log.append(batch.events)
        except VersionConflict:
            # Somebody was faster with one of them, so none was stored. Look at each again, on its own.
            results = [self._one(event.tenant_id, event.provider, meta) for event in batch.events]
            done = sum(result is True for result in results)
            skipped += sum(result is False for result in results)
            unopened += [result for result in results if isinstance(result, Unopened)]
        counts = RotationCounts(counts.reencrypted + done, counts.skipped + skipped, counts.failed + len(unopened))
        return replace(progress, counts=counts, unopened=(*progress.unopened, *unopened)[:SHOWN_UNOPENED])

    def _one(self, tenant_id: str, provider: str, meta: CommandMeta) -> bool | Unopened:
        """Seal one credential from the log. True: done. False: deleted or sealed by somebody else meanwhile."""
        for _ in range(_TRIES):
            last = self._log.last(stream_id(tenant_id, provider))
            try:
                events = self._reencrypted(evolve(last) if last else None, meta)
                if not events:
                    return False
                self._log.append(events)
            except VersionConflict:
                continue
            except CredentialNotFound:
                return False
            except (CredentialIntegrityError, UnreadableCredential) as fault:
                return Unopened(tenant_id, provider, fault.reason)
            return True
        return False  # changed all the time; the next pass meets it again


def append_to_keyring(log: StreamLog, decide_next: Callable[[Keys], E]) -> E:
    """Append the event that is decided from the keyring's stream; decide again while others are faster."""
    for _ in range(_TRIES - 1):
        event = decide_next(replay(log.stream(KEYRING_STREAM)))
        try:
            log.append([event])
        except VersionConflict:
            continue
        return event
    event = decide_next(replay(log.stream(KEYRING_STREAM)))
    log.append([event])
    return event
