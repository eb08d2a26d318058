"""Retirement: the recorded decision that an encryption key may be destroyed.

Promises: a key is retired only after verifying that nothing live needs it, and after checking all obstacles once more;
the event records how many past secrets become unreadable with it. The codes that were made with it are checked, and the
log is attested under the present key, before the event.
Refuses, with all reasons at once: the primary key of this or of a running service, a key that the log does not know or
that is already retired, any key while a rotation runs or before the primary key opens the ledger's own secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from domain.errors import CredentialIntegrityError
from domain.events.event import Clock, CommandMeta
from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import KEYRING_STREAM, EncryptionKeyRetired, key_not_retirable, replay, retire
from domain.operations.ledger_secret import sealings_in
from domain.operations.rotation import KeyStatus
from keyledger.encryption.key_verification import Watch, verify
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.removable_keys import KeyStatuses
from keyledger.encryption.rotation import Attest, append_to_keyring
from keyledger.encryption.rotation_rows import RotationRows
from projections.database.connections import BoundedConnection


@dataclass(frozen=True, slots=True)
class RetirementPlan:
    """A key that passed every check. unrecoverable: the number of past secrets that only this key opens."""

    key_id: str
    unrecoverable: int


class Retirer:
    """Retires encryption keys: call `plan`, let an operator confirm it, call `carry_out`."""

    def __init__(
        self,
        dsn: str,
        pool: ConnectionPool[BoundedConnection],
        log: StreamLog,
        alone: Keyring,
        statuses: KeyStatuses,
        clock: Clock,
        attest: Attest = lambda meta: None,
    ) -> None:
        """alone: a ring with only the primary key. attest: attests the log, or raises CredentialIntegrityError."""
        self._dsn = dsn
        self._pool = pool
        self._log = log
        self._alone = alone
        self._statuses = statuses
        self._clock = clock
        self._attest = attest

    def plan(self, key_id: str, watch: Watch) -> RetirementPlan:
        """Check everything, which takes time.

        Raises ConflictError with all reasons, and StoreUnavailableError.
        """
        status = self._status(key_id)
        reasons = [*self._obstacles(key_id), *verify(self._dsn, self._pool, self._alone, watch).reasons]
        if reasons:
            raise key_not_retirable(reasons)
        return RetirementPlan(key_id, status.superseded if status else 0)

    def carry_out(self, plan: RetirementPlan, meta: CommandMeta) -> EncryptionKeyRetired:
        """Record the retirement.

        Raises ConflictError if something changed since the plan was made, and StoreUnavailableError.
        """
        status = self._status(plan.key_id)
        reasons = self._obstacles(plan.key_id)
        if status is not None and status.live:
            reasons.append(f"live credentials are sealed under it: {status.live}")
        if reasons:
            raise key_not_retirable(reasons)
        self._require_attested(meta)
        return append_to_keyring(
            self._log, lambda keys: retire(keys, plan.key_id, plan.unrecoverable, meta, self._clock())
        )

    def require_retirable(self, event: EncryptionKeyRetired) -> None:
        """Check everything once more for a retirement that waited for a second person. Raises as `plan` does."""
        plan = self.plan(event.key_id, lambda step, done, total: None)
        if plan.unrecoverable != event.unrecoverable:
            raise key_not_retirable([f"without it {plan.unrecoverable} past secrets become unreadable by now"])
        self._require_attested(CommandMeta(event.actor, event.request_id, event.command_id, role=event.role))

    def _require_attested(self, meta: CommandMeta) -> None:
        try:
            self._attest(meta)
        except CredentialIntegrityError as error:
            raise key_not_retirable([f"the codes of the log's events cannot be checked: {error.reason}"]) from None

    def _status(self, key_id: str) -> KeyStatus | None:
        return next((one for one in self._statuses.all() if one.key_id == key_id), None)

    def _obstacles(self, key_id: str) -> list[str]:
        events = self._log.stream(KEYRING_STREAM)
        known, secret = replay(events), sealings_in(events)
        sealed = secret.secret_id is None or self._alone.primary_id in secret.tokens
        sealing = sorted(self._statuses.sealing().get(key_id, ()))
        running = RotationRows(self._pool).running()
        told: Sequence[tuple[bool, str]] = (
            (key_id not in known.introduced, "the log does not know a key of this id"),
            (key_id in known.retired, "it is retired already"),
            (key_id == self._alone.primary_id, "it is the primary key"),
            (bool(sealing), f"it is the primary key of {', '.join(sealing)}"),
            (bool(running), "a rotation is running"),
            (not sealed, "the primary key does not open the ledger's own secret yet: reload or restart a service"),
        )
        return [text for stands, text in told if stands]
