"""Runs replays of projections within a service, one at a time, in a thread of their own.

Promises: any node answers questions about any replay, from a table they share. A service that stops or crashes leaves
the live projection as it was; its replay reads as interrupted, and the next replay cleans up.
Refuses: a second replay of a projection while one runs on any node, and a second replay in this service.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4, uuid5

from psycopg_pool import ConnectionPool

from domain.errors import NotFoundError, ServiceError, StoreUnavailableError
from domain.events.event import Clock, CommandMeta
from domain.events.event_log import EventLog
from domain.operations.replay import (
    ProjectionStatus,
    ReplayResult,
    ReplayState,
    ReplayStatus,
    Swap,
    replay_conflict,
    replay_not_found,
    replay_running,
)
from keyledger.replay.recorded_replay import recorded_replay
from keyledger.replay.replay_rows import ReplayRows
from projections.database.connections import BoundedConnection, unavailable
from projections.replay.replayable import Progress, projection_named
from projections.replay.shadow_table import is_replayed
from projections.replay.status import projection_statuses

RENEW_S = 1.0
_STOP_S = 5.0
_REPEATED = UUID("3f0f3b0e-7c43-5d0c-9a0e-5b6a1f0d9c77")
_log = logging.getLogger("keyledger.replay")


@dataclass
class _Run:
    """One replay of this service."""

    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    total: int = 0
    outcome: ReplayResult | Exception | None = None

    def carry_out(self, replay: Callable[[Progress], ReplayResult]) -> None:
        """Replay the projection and keep the outcome."""
        try:
            self.outcome = replay(self.progress)
        except Exception as error:  # noqa: BLE001  the reader of the outcome tells errors apart
            self.outcome = error

    def progress(self, done: int, total: int) -> None:
        """Keep the progress, and end the replay if the service is stopping."""
        self.done, self.total = done, total
        if self.stop.is_set():
            raise CancelledError


class ReplayService:
    """Implements `domain.operations.replay.Projections` for one running service."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], dsn: str, log: EventLog, clock: Clock) -> None:
        """dsn: for the connections of a replay, which have no request deadline."""
        self._pool = pool
        self._dsn = dsn
        self._log = log
        self._clock = clock
        self._records = ReplayRows(pool)
        self._starting = threading.Lock()
        self._run: _Run | None = None
        self._thread: threading.Thread | None = None

    def list(self) -> Sequence[ProjectionStatus]:
        """Return every projection. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            return projection_statuses(connection)

    def start(self, projection: str, swap: Swap, meta: CommandMeta) -> ReplayStatus:
        """Start a replay in the background, or return the one that the same command started.

        Raises NotFoundError, ConflictError, StoreUnavailableError.
        """
        name = projection_named(projection).name
        replay_id = str(uuid5(_REPEATED, f"{meta.actor}/{name}/{meta.command_id}") if meta.may_repeat else uuid4())
        with self._starting:
            known = self._known(replay_id) if meta.may_repeat else None
            if known is not None:
                return known
            self._require_none_runs(name)
            if self._records.open(replay_id, name, swap, meta.actor):
                self._run_beside(replay_id, name, swap, replace(meta, command_id=replay_id))
            return self._records.one(replay_id)

    def replay(self, projection: str, replay_id: str) -> ReplayStatus:
        """Return one replay. Raises NotFoundError, StoreUnavailableError."""
        name, found = projection_named(projection).name, self._records.one(replay_id)
        if found.projection != name:
            raise replay_not_found()
        return found

    def stop(self) -> None:
        """Stop the replay of this service soon; the live projection stays as it is."""
        with self._starting:
            run, thread = self._run, self._thread
        if run is not None and thread is not None:
            run.stop.set()
            thread.join(_STOP_S)

    def _known(self, replay_id: str) -> ReplayStatus | None:
        try:
            return self._records.one(replay_id)
        except NotFoundError:
            return None

    def _require_none_runs(self, name: str) -> None:
        if self._thread is not None and self._run is not None:
            if self._thread.is_alive() and self._run.outcome is None:
                raise replay_conflict("This service is already replaying a projection. Wait for it to end.")
            self._thread.join()  # its outcome is visible before the thread takes its last step
        with unavailable(), self._pool.connection() as connection:
            if is_replayed(connection, name):
                raise replay_running(name)

    def _run_beside(self, replay_id: str, name: str, swap: Swap, meta: CommandMeta) -> None:
        self._run = run = _Run()

        def replay(progress: Progress) -> ReplayResult:
            return recorded_replay(self._dsn, self._log, name, progress, swap=swap, meta=meta, clock=self._clock)

        self._thread = _beside(lambda: self._carry_out(replay_id, replay, run))

    def _carry_out(self, replay_id: str, replay: Callable[[Progress], ReplayResult], run: _Run) -> None:
        work = _beside(lambda: run.carry_out(replay))
        while work.is_alive():
            work.join(RENEW_S)
            self._note(lambda: self._records.renew(replay_id, run.done, run.total))
        self._note(lambda: self._close(replay_id, run))

    def _close(self, replay_id: str, run: _Run) -> None:
        if isinstance(run.outcome, ReplayResult):
            self._records.close(replay_id, ReplayState.COMPLETED, run.outcome)
        elif isinstance(run.outcome, CancelledError):
            self._records.close(replay_id, ReplayState.INTERRUPTED)
        elif isinstance(run.outcome, ServiceError):
            _log.error("replay %s failed: %s", replay_id, run.outcome.code)
            self._records.close(replay_id, ReplayState.FAILED, failure=run.outcome.detail)
        else:  # its text may contain anything, so only its type is kept
            _log.error("replay %s failed: %s", replay_id, type(run.outcome).__name__)
            self._records.close(
                replay_id, ReplayState.FAILED, failure="An unexpected error. The service's log names its type."
            )

    def _note(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StoreUnavailableError:
            _log.warning("the progress of a replay could not be noted")


def _beside(work: Callable[[], None]) -> threading.Thread:
    # Daemon: a crashing process must not wait for it, and the live projection is unchanged.
    thread = threading.Thread(target=work, name="replay", daemon=True)
    thread.start()
    return thread
