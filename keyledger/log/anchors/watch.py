"""Checks that the ledger is the recorded one and only grows, and keeps the anchors near the head of the log.

Promises: each anchor records an event about a second after its commit, and the last one at an orderly shutdown, and
never one that a failover may still take back: a write after it is confirmed first (`keyledger.log.confirmation`).
If the database gets another ledger, the log goes backwards or is rewritten, or a projection gets ahead of the log while
a service runs, the service stops being ready and signs nothing. Until an operator accepts the log, the anchors stay.
If DATA_DIR cannot be written or ANCHOR_DIR cannot be reached, the watch continues in memory while the process lives,
and readiness reports it; the service stays ready, because calls do not depend on the place.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from psycopg_pool import ConnectionPool

from api.front.check_result import CheckResult
from domain.errors import CheckpointRefusedError, ServiceError
from domain.events.event_code import EventCodes
from keyledger.log.anchors.anchor import Anchor
from keyledger.log.anchors.contradiction import Contradiction
from keyledger.log.anchors.log_state import Known, Seen, look, look_through
from keyledger.log.anchors.places import AnchorPlace
from keyledger.log.confirmation import confirm
from keyledger.log.durable_file import UnreadableFileError
from keyledger.log.event_codes.attestation import require_codes
from keyledger.log.periodic_task import PeriodicTask
from projections.database.connections import BoundedConnection, unavailable

TICK_S = 1.0
"""Seconds between two checks of the log."""

_log = logging.getLogger("keyledger.store")


class AnchorWatch:
    """Compares the ledger with its anchors, in a task on the event loop."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        places: Sequence[AnchorPlace],
        vouch: Callable[[int], None] = lambda position: None,
        contradicts: Callable[[str], None] = lambda contradiction: None,
    ) -> None:
        """vouch: checks the codes of the events up to a position before an anchor moves there; raises ServiceError.

        contradicts: gets, after each check, how the log contradicts an anchor; "" if it does not.
        """
        self._pool = pool
        self._places = places
        self._vouch = vouch
        self._contradicts = contradicts
        self._error = ""
        self._task = PeriodicTask(self.record, TICK_S, "watch of the log", pause_first=True)

    async def start(self) -> None:
        """Check the ledger once, so that the places are bound to it, then start the task on the running event loop."""
        await asyncio.to_thread(self.record)
        self._task.start()

    async def stop(self) -> None:
        """Stop the task, and record what was appended since the last check."""
        await self._task.stop()
        await asyncio.to_thread(self.record)

    def record(self) -> None:
        """Check the ledger and renew the anchors, unless they contradict each other. Failures are logged."""
        try:
            seen = self._look_and_confirm()
        except ServiceError:
            return  # logged where it occurred; the next check tries again
        except UnreadableFileError:
            self._note("the anchor of the log cannot be read")
            return
        found = seen.contradiction
        self._note(found.detail if found else "")
        self._contradicts(found.detail if found and found.acceptable else "")
        if seen.contradiction is None and self._vouched_for(seen.now):
            for place in self._places:
                place.keep(seen.now)

    def _look_and_confirm(self) -> Seen:
        """Look at the ledger; if it is further than every anchor, confirm a write after what was seen."""
        known = self._known()
        with unavailable(), self._pool.connection() as connection:
            seen = look_through(connection, known)
            if seen.contradiction is None and not any(one.anchor.covers(seen.now) for one in known):
                confirm(connection)
        return seen

    def _vouched_for(self, now: Anchor) -> bool:
        try:
            self._vouch(now.position)
        except ServiceError:
            return False  # noted by the check of codes
        return True

    def check(self) -> CheckResult:
        """Compare the ledger with the anchors now. Raises StoreUnavailableError."""
        try:
            seen = self._look()
        except UnreadableFileError:
            return CheckResult(False, "the anchor in DATA_DIR or ANCHOR_DIR cannot be read")
        if seen.contradiction is not None:
            return CheckResult(False, seen.contradiction.short)
        problems = "".join(f"; {place.problem}" for place in self._places if place.problem)
        return CheckResult(True, f"at position {seen.now.position}{problems}")

    def require_same_log(self) -> None:
        """Raise CheckpointRefusedError if the ledger contradicts an anchor now. Raises StoreUnavailableError."""
        try:
            contradiction: Contradiction | None = self._look().contradiction
        except UnreadableFileError:
            raise CheckpointRefusedError("the anchor in DATA_DIR or ANCHOR_DIR cannot be read") from None
        if contradiction is not None:
            raise CheckpointRefusedError(contradiction.detail)

    def _look(self) -> Seen:
        return look(self._pool, self._known())

    def _known(self) -> list[Known]:
        return [known for place in self._places if (known := place.known()) is not None]

    def _note(self, error: str) -> None:
        if error and error != self._error:
            _log.error("%s", error)
        self._error = error


def renew(pool: ConnectionPool[BoundedConnection], places: Sequence[AnchorPlace], codes: EventCodes) -> None:
    """Move existing anchors to the end of the log, unless they contradict it, an event is forged or anything fails.

    For commands that append while no service runs; the next service would do the same.
    """
    try:
        present = [(place, known) for place in places if (known := place.known()) is not None]
        with unavailable(), pool.connection() as connection:
            seen = look_through(connection, [known for _, known in present])
            for _, known in present:
                require_codes(connection, codes, known.anchor.position, seen.now.position)
            confirm(connection)
    except (UnreadableFileError, ServiceError):
        return
    if seen.contradiction is None:
        for place, _ in present:
            place.keep(seen.now)


def taken_over(now: Anchor, places: Sequence[AnchorPlace]) -> None:
    """Bind the places to a ledger as it is now, whatever they recorded. Raises OSError."""
    for place in places:
        place.replace(now)
