"""The lease of a node: how long it may rely on what it reads, and on which server.

A primary that was not stopped when another was promoted looks as it always did, but no standby confirms its writes.
Each heartbeat is a confirmed write, so it proves that its server was the only primary when it was sent.
Promises: `require` holds only within `LEASE_S` seconds of the sending of the last confirmed heartbeat, and `admits`
only the server that confirmed it, never one of an earlier timeline. `obeyed` returns once no other node can hold a
lease from before the last promotion: each renewed its lease since, or its lease ended. So after a change is answered,
no node uses the key before it, whatever became of the old primary.
While the log contradicts an anchor, or lacks an event that this process acknowledged, nothing is changed or
acknowledged, until an operator accepts the log or restarts the service: with asynchronous replication a failover may
lose such an event, and that is never silent.
Refuses, with asynchronous replication, nothing of a server that confirms its own writes: there, two primaries are for
the cluster's manager to prevent.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from api.front.check_result import CheckResult
from domain.credentials.newest_seen import Moment
from domain.errors import StoreUnavailableError

LEASE_S = 6.0
"""Seconds for which a confirmed heartbeat counts, from when it was sent."""
DRIFT_S = 0.5
"""Seconds by which the clocks of two nodes may run apart in that time."""
CLOCK_S = 5.0
"""Seconds by which a node's clock may differ from the database's."""
_ENDED = "This node has not been confirmed by the database in the last seconds, so it uses no key. Try again."
ACKNOWLEDGED = "acknowledged"
"""The source of contradictions with what this process acknowledged."""
_log = logging.getLogger("keyledger.store")


def elapsed() -> float:
    """Return a time in seconds that no one can set, and that also counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Beat:
    """A confirmed heartbeat. sent: by `elapsed`. behind: whether live nodes were last heard from on another server.

    ahead: seconds by which this node's clock is ahead of the database's.
    """

    epoch: str
    sent: float
    behind: bool = False
    ahead: float = 0.0


class NodeLease:
    """The lease of one process. It holds without end until `begin`, while only the start of the service works."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._begun = False
        self._last: Beat | None = None
        self._hold_until = 0.0
        self._ended: dict[str, float] = {}  # of each former epoch, when its last confirmed heartbeat was sent
        self._contradictions: dict[str, str] = {}
        self._lock = threading.Lock()
        self.hasten: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Let the lease count from now on."""
        self._begun = True

    def admits(self, epoch: str) -> bool:
        """Return whether the server of an epoch confirmed the last heartbeat. If not, the next one is due at once."""
        last = self._last
        if last is None or epoch == last.epoch:
            return True
        self.hasten()
        return False

    def renew(self, beat: Beat) -> None:
        """Count a confirmed heartbeat. Raises StoreUnavailableError if its server is of an earlier timeline."""
        with self._lock:
            if self._last is not None and beat.epoch < self._last.epoch:
                raise StoreUnavailableError
            if self._last is None or beat.epoch != self._last.epoch:
                self._hold_until = self._clock() + LEASE_S + DRIFT_S
                if self._last is not None:
                    self._ended[self._last.epoch] = self._last.sent
            if not beat.behind:
                self._hold_until = 0.0
            self._last = beat

    def moment(self) -> Moment:
        """Return the epoch of the server in use, and the time."""
        return Moment("" if self._last is None else self._last.epoch, self._clock())

    def may_have_taken_back(self, seen: Moment) -> bool:
        """Return whether what was seen then may rightly be gone: no later heartbeat of that server was confirmed."""
        return seen.at > self._ended.get(seen.epoch, seen.at)

    def contradict(self, source: str, contradiction: str) -> None:
        """Let this process change nothing while the log contradicts what a source knows; "" if it does not."""
        if contradiction and contradiction != self._contradictions.get(source):
            _log.error("%s: this node changes nothing until an operator has looked", contradiction)
        self._contradictions[source] = contradiction

    def require(self) -> None:
        """Require that what was just read may be relied on. Raises StoreUnavailableError."""
        if self._begun and not self._holds():
            raise StoreUnavailableError(_ENDED)

    def require_for_change(self) -> None:
        """Require that a change may be stored and acknowledged. Raises StoreUnavailableError."""
        self.require()
        for found in filter(None, self._contradictions.values()):
            reason = f"This node changes nothing: {found}. Ask an operator to investigate."
            raise StoreUnavailableError(reason, contradicted=True)

    async def obeyed(self) -> None:
        """Wait until every node obeys a change that was stored before."""
        while (remaining := self._hold_until - self._clock()) > 0:  # noqa: ASYNC110  see below
            # A heartbeat, in another thread, may end the wait earlier.
            await asyncio.sleep(min(remaining, 0.05))

    def check(self) -> CheckResult:
        """Report whether the lease holds."""
        if lost := self._contradictions.get(ACKNOWLEDGED):
            return CheckResult(False, lost)
        if not self._begun or self._last is None:
            return CheckResult(not self._begun, "no heartbeat is confirmed yet")
        age = self._clock() - self._last.sent
        return CheckResult(self._holds(), f"last confirmed heartbeat {age:.0f} s ago")

    def check_clock(self) -> CheckResult:
        """Report whether the node's clock is close enough to the database's to change anything."""
        ahead = self._last.ahead if self._last is not None else 0.0
        right = abs(ahead) <= CLOCK_S
        return CheckResult(right, f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database's")

    def _holds(self) -> bool:
        last = self._last
        return last is not None and self._clock() - last.sent <= LEASE_S
