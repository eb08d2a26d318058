"""Signs a checkpoint about every second while the log grows, and reports the age of the last one.

Promises: a log that contradicts the last checkpoint is never signed, makes the node not ready, and is logged once; once
the log extends the checkpoint again, signing resumes. A checkpoint that cannot be kept in DATA_DIR is not signed, and
readiness says so; the node stays ready, because calls and changes do not depend on it. Without AUDIT_SIGNING_KEY
nothing is signed, but the tree is kept.
"""

import asyncio
import logging

from prometheus_client import CollectorRegistry, Gauge

from api.front.check_result import CheckResult
from domain.errors import CheckpointRefusedError, ServiceError
from domain.events.event import Clock
from keyledger.log.background_catch_up import BackgroundCatchUp
from keyledger.log.periodic_task import PeriodicTask
from keyledger.proofs.checkpoint_signing import Transparency

TICK_S = 1.0
_log = logging.getLogger("keyledger.audit.checkpoint")


class SigningLoop:
    """Runs as a task on the event loop."""

    def __init__(
        self, transparency: Transparency, tree: BackgroundCatchUp, clock: Clock, metrics: CollectorRegistry
    ) -> None:
        """tree: keeps the tree close to the head of the log. metrics: gets the age of the last checkpoint."""
        self._transparency = transparency
        self._tree = tree
        self._clock = clock
        self._task = PeriodicTask(self.sign, TICK_S, "checkpoints")
        self._error: str | None = None
        self._log_is_right = False
        age = Gauge("keyledger_audit_checkpoint_age_seconds", "Age of the last checkpoint; -1: none.", registry=metrics)
        age.set_function(self._age)

    async def start(self) -> None:
        """Start the task if there is a key to sign with."""
        if self._transparency.signs:
            self._task.start()

    async def stop(self) -> None:
        """Stop the task, after a last checkpoint."""
        if self._transparency.signs:
            await self._task.stop()
            await asyncio.to_thread(self.sign)

    def sign(self) -> None:
        """Sign the log as it is now. Failures are kept for `check` and logged once."""
        try:
            self._transparency.checkpoint()
        except CheckpointRefusedError as refused:
            self._note(refused.detail)
            self._log_is_right = refused.log_is_right
        except ServiceError as error:
            _log.info("no checkpoint this time: %s", error.code)
        except Exception as error:  # noqa: BLE001  any failure is reported and tried again; it must not end the task
            self._note(f"an unexpected error, {type(error).__name__}; see the log")
            self._log_is_right = False
        else:
            self._error = None

    def check(self) -> CheckResult:
        """Report how far the tree is and how old the last checkpoint is. Raises StoreUnavailableError."""
        tree = self._tree.check()
        if self._error is not None or not tree.ok:
            return CheckResult(tree.ok and self._log_is_right, self._error or tree.text)
        if not self._transparency.signs:
            return CheckResult(True, f"{tree.text}; not signed: AUDIT_SIGNING_KEY is not set")
        age = self._age()
        signed = "no checkpoint yet" if age < 0 else f"last checkpoint {age:.0f} s ago"
        strange = self._transparency.untrusted_peers
        ignored = f"; ignored checkpoints of other nodes, not signed for this ledger: {strange}" if strange else ""
        return CheckResult(True, f"{tree.text}; {signed}{ignored}")

    def _age(self) -> float:
        signed_at = self._transparency.last_signed_at
        return -1.0 if signed_at is None else max(0.0, (self._clock() - signed_at).total_seconds())

    def _note(self, error: str) -> None:
        if error != self._error:
            _log.error("%s", error)
        self._error = error
