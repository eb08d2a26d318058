"""Attests the store once a minute while a service runs, from a minute after its start, which attests it, too.

Promises: a function, trigger, constraint, index or table that is not as shipped makes the service stop being ready
within a minute and is named in the log once. A database that does not answer leaves the last result as it was.
Limits: once a newer release has migrated the database, functions and what was added are the newer release's; the rest
is attested as before.
"""

import logging
from collections.abc import Callable, Sequence

from psycopg_pool import ConnectionPool

from api.front.check_result import CheckResult
from domain.errors import ServiceError
from keyledger.log.periodic_task import PeriodicTask
from keyledger.store_attestation.sentences import RoleRule, sentence_of, stands_in_the_way
from projections.database.attestation import attest, attest_lock_rows, attest_settings
from projections.database.connections import BoundedConnection, unavailable
from projections.database.findings import Finding, Flaw
from projections.database.migration import PRESENT, edition_of

TICK_S = 60.0
"""Seconds between two attestations."""

_log = logging.getLogger("keyledger.store")


class StoreWatch:
    """Attests the store, in a task on the event loop, and keeps the last result for readiness."""

    def __init__(
        self, pool: ConnectionPool[BoundedConnection], unkept: Callable[[], str], role: RoleRule = RoleRule.NAMED
    ) -> None:
        """unkept: returns how an append was not kept as it was sent, "" if every append was."""
        self._pool = pool
        self._unkept = unkept
        self._role = role
        self._flawed: Sequence[Finding] = ()
        self._task = PeriodicTask(self.attest, TICK_S, "attestation of the store", pause_first=True)

    def begin_with(self, findings: Sequence[Finding]) -> None:
        """Keep what the start of the service found, and named, until the first attestation of the task."""
        self._flawed = [one for one in findings if self._is_flawed(one)]

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task."""
        await self._task.stop()

    def attest(self) -> None:
        """Attest the store now. Failures of the database are logged where they occur."""
        try:
            with unavailable(), self._pool.connection() as connection:
                newer = edition_of(connection) > PRESENT
                findings = [
                    *attest(connection, newer=newer),
                    *attest_settings(connection),
                    attest_lock_rows(connection),
                ]
        except ServiceError:
            return
        before, self._flawed = self._flawed, [one for one in findings if self._is_flawed(one)]
        for finding in self._flawed:
            if finding not in before and finding.flaw is not Flaw.ROLE:  # the start has named it
                _log.log(logging.ERROR if self._unfit(finding) else logging.WARNING, "%s", sentence_of(finding))

    def check(self) -> CheckResult:
        """Return the last result."""
        if unkept := self._unkept():
            return CheckResult(False, unkept)
        wrong = [one for one in self._flawed if self._unfit(one)]
        if wrong:
            named = "; ".join(f"{one.flaw}: {', '.join(one.names)}" for one in wrong)
            return CheckResult(False, f"not as shipped: {named}; keyledger doctor says what to do")
        warned = "; ".join(f"{one.flaw}: {', '.join(one.names)}" for one in self._flawed)
        return CheckResult(True, f"as shipped; warning: {warned}" if warned else "as shipped")

    def _is_flawed(self, finding: Finding) -> bool:
        return finding.flaw is not None and not (finding.flaw is Flaw.ROLE and self._role is RoleRule.IGNORED)

    def _unfit(self, finding: Finding) -> bool:
        return stands_in_the_way(finding, role=self._role)
