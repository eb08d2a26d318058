"""The checks behind `/readyz`, each with a name and a public text.

Promises: the deadline of each statement bounds the time that the checks take. A text contains states, codes, positions,
key ids and names of models, tables, functions and rights, and nothing else.
"""

import asyncio
from collections.abc import Callable, Mapping

from psycopg_pool import ConnectionPool

from api.front.check_result import CheckResult
from domain.errors import ServiceError
from keyledger.assembly.checks.start_checks import missing_keys
from keyledger.assembly.configuration import Configuration
from keyledger.encryption.nodes import strays
from keyledger.llm import Warming
from keyledger.log.anchors.watch import AnchorWatch
from keyledger.log.background_catch_up import BackgroundCatchUp
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.log.node_lease import NodeLease
from keyledger.proofs.signing_loop import SigningLoop
from keyledger.store_attestation.watch import StoreWatch
from projections.database.connections import BoundedConnection, unavailable
from projections.database.migration import PRESENT, edition_of


class Readiness:
    """Runs the checks."""

    def __init__(
        self,
        current: Callable[[], Configuration],
        pool: ConnectionPool[BoundedConnection],
        audit_trail: BackgroundCatchUp,
        transparency_log: SigningLoop,
        log: AnchorWatch,
        codes: CodeWatch,
        store: StoreWatch,
        models: Warming,
        lease: NodeLease,
        writes: Callable[[], CheckResult],
        down: Callable[[], str],
    ) -> None:
        """writes: reports whether the last append was stored.

        down: returns why the database server does not run, "" if it does or is not this service's to run.
        """
        self._current = current
        self._pool = pool
        self._audit_trail = audit_trail
        self._transparency_log = transparency_log
        self._log = log
        self._codes = codes
        self._store = store
        self._models = models
        self._lease = lease
        self._writes = writes
        self._down = down

    async def __call__(self) -> Mapping[str, CheckResult]:
        """Return every check by name."""
        return await asyncio.to_thread(self._checks)

    def _checks(self) -> dict[str, CheckResult]:
        try:
            return {
                "database": CheckResult(True, "answers"),
                "lease": self._lease.check(),
                "clock": self._lease.check_clock(),
                "writes": self._writes(),
                "schema": self._schema(),
                "log": self._log.check(),
                "event_codes": self._codes.check(),
                "store": self._store.check(),
                "encryption_keys": self._encryption_keys(),
                "audit_trail": self._audit_trail.check(),
                "transparency_log": self._transparency_log.check(),
                "catalogue": CheckResult(True, self._current().catalogue.summary()),
                "models": self._models.check(),
            }
        except ServiceError as error:
            return {"database": CheckResult(False, self._down() or error.code)}

    def _schema(self) -> CheckResult:
        with unavailable(), self._pool.connection() as connection:
            edition = edition_of(connection)
        if edition > PRESENT:
            return CheckResult(True, "of a newer release; upgrade this one")
        current = edition == PRESENT
        return CheckResult(current, "current" if current else "of another version; restart to migrate")

    def _encryption_keys(self) -> CheckResult:
        current = self._current()
        if not current.settings.policy.tenant_credentials:
            return CheckResult(True, "not used")
        missing = missing_keys(self._pool, current.keyring)
        strange = len(strays(self._pool, current.keyring)) if current.keyring is not None else 0
        ignored = f"; ignored rows of the table nodes, written by no node with these keys: {strange}" if strange else ""
        if not missing:
            return CheckResult(True, f"complete{ignored}")
        text = ", ".join(f"{key_id} is missing for {count}" for key_id, count in missing.items())
        return CheckResult(current.settings.allow_unreadable, f"{text}{ignored}")
