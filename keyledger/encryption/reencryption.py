"""Sealing anew what is under other keys, in batches: the work of a rotation, without its beginning and its end.

Promises: nothing but the log is the progress: whoever seals may be killed at any point, and several may seal at once.
Each credential's event expects the version it was read at: whoever sets or deletes meanwhile wins. A batch is one
transaction. Bindings are checked before anything is decrypted, and a plaintext lives from there to its new token.
Refuses: to guess. A credential that cannot be opened is reported and left as it is; the rest goes on.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from psycopg_pool import ConnectionPool

from domain.credentials.commands import ReencryptCredential
from domain.credentials.credential import Credential, CredentialEvent, decide, evolve, stream_id
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFoundError,
    UnreadableCredentialError,
    VersionConflictError,
)
from domain.event import Clock, CommandMeta
from domain.event_log import EventLog
from domain.operations.encryption_keys import RotationCounts
from domain.operations.rotation import Unopened
from keyledger.encryption.keyring import Keyring
from projections.current_credentials import read_under_other_keys
from projections.database.connections import BoundedConnection

BATCH = 100
"""Credentials for one transaction: nearly full speed, and other writers wait some milliseconds."""
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one batch came to. `again`: what could not be opened before is looked at anew, and counts anew."""

    counts: RotationCounts = field(default_factory=RotationCounts)
    unopened: tuple[Unopened, ...] = ()
    again: bool = False


Sealing = Callable[[CommandMeta], Generator[Sealed, None, None]]
"""Seals until nothing moves, and tells of each batch once it is stored. Closing it ends it before the next one.

The events carry the given command id, which names the whole rotation. Raises StoreUnavailableError.
"""

_Place = tuple[str, str]


@dataclass
class _Batch:
    """What was computed for one batch before it is written."""

    events: list[CredentialEvent] = field(default_factory=list)
    unopened: list[Unopened] = field(default_factory=list)
    gone: int = 0
    last: _Place | None = None


class LocalSealing:
    """Seals in this process. Implements `Sealing`."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        log: EventLog,
        keyring: Keyring,
        clock: Clock,
        rest: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """rest: how long to leave the machine to others after each batch, in ratio to the time the batch took."""
        self._pool = pool
        self._log = log
        self._keyring = keyring
        self._clock = clock
        self._rest = rest
        self._pause = pause

    def __call__(self, meta: CommandMeta) -> Generator[Sealed, None, None]:
        """Seal until nothing moves."""
        moved = True
        while moved:
            moved = False
            for batch in self._batches(meta):
                done = self._write(batch, meta)
                moved = moved or done.counts.reencrypted + done.counts.skipped > 0
                yield done
            # Services with the former primary may have sealed more meanwhile: go through again until nothing moves.
            if moved:
                yield Sealed(again=True)

    def _batches(self, meta: CommandMeta) -> Iterator[_Batch]:
        """Yield batches; the next one is computed while the last one is written, unless there is a rest to keep."""
        if self._rest:
            yield from self._batches_with_rests(meta)
            return
        with ThreadPoolExecutor(1, "sealing") as ahead:
            coming = ahead.submit(self._prepare, None, meta)
            while (batch := coming.result()).last is not None:
                coming = ahead.submit(self._prepare, batch.last, meta)
                yield batch

    def _batches_with_rests(self, meta: CommandMeta) -> Iterator[_Batch]:
        started = time.monotonic()
        batch = self._prepare(None, meta)
        while batch.last is not None:
            yield batch
            self._pause(self._rest * (time.monotonic() - started))
            started = time.monotonic()
            batch = self._prepare(batch.last, meta)

    def _prepare(self, after: _Place | None, meta: CommandMeta) -> _Batch:
        batch, now = _Batch(), self._clock()
        for stored in read_under_other_keys(self._pool, self._keyring.primary_id, after, BATCH):
            row = stored.row
            if row is None:
                continue
            batch.last = (row.tenant_id, row.provider)
            try:
                batch.events += self._reencrypted(stored.current(), meta, now)
            except CredentialNotFoundError:
                batch.gone += 1
            except (CredentialIntegrityError, UnreadableCredentialError) as fault:
                batch.unopened.append(Unopened(row.tenant_id, row.provider, fault.reason))
        return batch

    def _reencrypted(self, state: Credential | None, meta: CommandMeta, now: datetime) -> Sequence[CredentialEvent]:
        if state is None:
            raise CredentialNotFoundError("", "")
        return decide(state, ReencryptCredential(state.tenant_id, state.provider, meta), now, self._keyring)

    def _write(self, batch: _Batch, meta: CommandMeta) -> Sealed:
        unopened = list(batch.unopened)
        done, skipped = len(batch.events), batch.gone
        try:
            if batch.events:
                self._log.append(batch.events)
        except VersionConflictError:
            # Somebody was faster with one of them, so none was stored. Look at each again, on its own.
            results = [self._one(event.tenant_id, event.provider, meta) for event in batch.events]
            done = sum(result is True for result in results)
            skipped += sum(result is False for result in results)
            unopened += [result for result in results if isinstance(result, Unopened)]
        return Sealed(RotationCounts(done, skipped, len(unopened)), tuple(unopened))

    def _one(self, tenant_id: str, provider: str, meta: CommandMeta) -> bool | Unopened:
        """Seal one credential from the log. True: done. False: deleted or sealed by somebody else meanwhile."""
        for _ in range(_TRIES):
            last = self._log.last(stream_id(tenant_id, provider))
            try:
                events = self._reencrypted(evolve(last) if last else None, meta, self._clock())
                if not events:
                    return False
                self._log.append(events)
            except VersionConflictError:
                continue
            except CredentialNotFoundError:
                return False
            except (CredentialIntegrityError, UnreadableCredentialError) as fault:
                return Unopened(tenant_id, provider, fault.reason)
            return True
        return False  # changed all the time; the next pass meets it again
