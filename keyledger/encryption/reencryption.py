"""Re-encrypts in batches what is sealed under other keys: the work of a rotation between its start and its end.

Promises: progress is recorded only in the log, so the process may be killed at any point, and several may work at once.
Each event expects the version that was read, so a concurrent set or delete wins. A batch is one transaction. Bindings
are checked before anything is decrypted, and a plaintext exists only until it is sealed again. Nothing gets from the
projection into the log that the log does not say.
Refuses: to guess. A credential that cannot be opened, or whose row differs from the log, is reported and left
unchanged; the others continue.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from psycopg_pool import ConnectionPool

from domain.credentials.commands import ReencryptCredential
from domain.credentials.credential import Credential, CredentialEvent, decide, evolve, stream_id
from domain.credentials.stored import Stored, require_written
from domain.errors import (
    CredentialIntegrityError,
    CredentialNotFoundError,
    UnreadableCredentialError,
    VersionConflictError,
)
from domain.event_codec import decode
from domain.events.event import Clock, CommandMeta
from domain.events.event_code import NO_CODES, EventCodes
from domain.events.event_log import EventLog
from domain.operations.encryption_keys import RotationCounts
from domain.operations.rotation import Unopened
from keyledger.encryption.keyring import Keyring
from projections.credentials.current_credentials import read_under_other_keys
from projections.database.connections import BoundedConnection

_TRIES = 8


class Pace(NamedTuple):
    """How fast credentials are re-encrypted.

    batch: credentials per transaction. rest: how long to pause after each batch, as a multiple of the time that the
    batch took; without a rest, the next batch is computed while the last one is written.
    """

    batch: int
    rest: float = 0.0


FAST = Pace(100)
"""Nearly full speed; other writers wait a few milliseconds, and so do the slowest of the calls."""
GENTLE = Pace(10, 2.0)
"""Calls take no longer than without a rotation: no statement keeps the database's processor for long."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """The result of one batch. again: a new pass begins, so failures are counted from zero."""

    counts: RotationCounts = field(default_factory=RotationCounts)
    unopened: tuple[Unopened, ...] = ()
    again: bool = False


Reencryption = Callable[[CommandMeta], Generator[Sealed, None, None]]
"""Re-encrypts until a pass changes nothing, and yields each batch once it is stored. Closing it stops before the next.

The events carry the given command id, which identifies the whole rotation. Raises StoreUnavailableError.
"""

_Place = tuple[str, str, str]
"""Key id, tenant and provider."""


@dataclass
class _Batch:
    """One batch, computed but not yet written."""

    events: list[CredentialEvent] = field(default_factory=list)
    unopened: list[Unopened] = field(default_factory=list)
    gone: int = 0
    last: _Place | None = None


class LocalReencryption:
    """Re-encrypts in this process. Implements `Reencryption`."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        log: EventLog,
        keyring: Keyring,
        clock: Clock,
        pace: Pace = FAST,
        pause: Callable[[float], None] = time.sleep,
        codes: Callable[[], EventCodes] = lambda: NO_CODES,
    ) -> None:
        """codes: check what is read."""
        self._pool = pool
        self._log = log
        self._keyring = keyring
        self._clock = clock
        self._pace = pace
        self._pause = pause
        self._codes = codes

    def __call__(self, meta: CommandMeta) -> Generator[Sealed, None, None]:
        """Re-encrypt until a pass changes nothing."""
        moved = True
        while moved:
            moved = False
            for batch in self._batches(meta):
                done = self._write(batch, meta)
                moved = moved or done.counts.reencrypted + done.counts.skipped > 0
                yield done
            # Services with the former primary key may have sealed more meanwhile: repeat until nothing changes.
            if moved:
                yield Sealed(again=True)

    def _batches(self, meta: CommandMeta) -> Iterator[_Batch]:
        """Yield batches; the next one is computed while the last one is written, unless there are pauses."""
        if self._pace.rest:
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
            self._pause(self._pace.rest * (time.monotonic() - started))
            started = time.monotonic()
            batch = self._prepare(batch.last, meta)

    def _prepare(self, after: _Place | None, meta: CommandMeta) -> _Batch:
        batch, now = _Batch(), self._clock()
        for stored in read_under_other_keys(self._pool, self._keyring.primary_id, after, self._pace.batch):
            row = stored.row
            if row is None or row.sealed is None:
                continue
            batch.last = (row.sealed.key_id, row.tenant_id, row.provider)
            try:
                require_written(stored, self._codes())
                state = stored.current()
                events = self._reencrypted(state, meta, now)
                if state != _recorded(stored):
                    raise CredentialIntegrityError("view-contradicts-log")
                batch.events += events
            except CredentialNotFoundError:
                batch.gone += 1
            except (CredentialIntegrityError, UnreadableCredentialError) as error:
                batch.unopened.append(Unopened(row.tenant_id, row.provider, error.reason))
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
            # One of them was changed meanwhile, so none was stored. Try each again on its own.
            results = [self._one(event.tenant_id, event.provider, meta) for event in batch.events]
            done = sum(result is True for result in results)
            skipped += sum(result is False for result in results)
            unopened += [result for result in results if isinstance(result, Unopened)]
        return Sealed(RotationCounts(done, skipped, len(unopened)), tuple(unopened))

    def _one(self, tenant_id: str, provider: str, meta: CommandMeta) -> bool | Unopened:
        """Re-encrypt one credential from the log. True: done. False: deleted or re-encrypted by another meanwhile."""
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
            except (CredentialIntegrityError, UnreadableCredentialError) as error:
                return Unopened(tenant_id, provider, error.reason)
            return True
        return False  # it keeps changing; the next pass tries it again


def _recorded(stored: Stored) -> Credential | None:
    """Return the credential as its newest event says. Raises CredentialIntegrityError."""
    if stored.head is None or stored.head.row is None:
        return None
    row = stored.head.row
    return evolve(decode(row.stream, row.version, row.topic, row.state))
