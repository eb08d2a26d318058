"""The parts that a command about encryption keys works with, on the database itself and without a service.

Promises: a log that contradicts its anchor is not written to; when the command ends, the anchor knows the last event.
Refuses: settings without encryption keys.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg_pool import ConnectionPool

from domain.approvals.listed import ProposalRules
from domain.events.event import CommandMeta, utc_now
from domain.events.event_code import EventCodes
from keyledger.assembly.checks.same_ledger import require_same_log
from keyledger.assembly.command_meta import command_meta, service_meta
from keyledger.assembly.configuration import code_keys_of, keys_with_next_first, secret_keys_of
from keyledger.assembly.open_ledger import Ledger, Purpose, open_ledger
from keyledger.assembly.people import People, people_of
from keyledger.encryption.approval_agreement import agreed_approvals
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.key_retirement import Retirer
from keyledger.encryption.key_verification import Verification, Watch, verify
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import live_nodes
from keyledger.encryption.reencryption import GENTLE, LocalReencryption, Pace
from keyledger.encryption.removable_keys import KeyStatuses
from keyledger.encryption.rotation import Rotator
from keyledger.encryption.rotation_rows import RotationRows
from keyledger.encryption.rotation_service import RecordedRun
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.log.anchors.watch import renew
from keyledger.log.event_codes.attestation import Attesting, read_codes
from keyledger.log.event_store import CredentialLog
from keyledger.settings.settings import Settings, load
from keyledger.start_error import StartError
from projections.audit import audit_trail
from projections.database.connections import BoundedConnection

SEALING_PATIENCE_S = 20
"""Seconds in which every node begins to seal with the next key; each does at its next heartbeat."""


@dataclass(frozen=True, slots=True)
class KeyOperation:
    """The parts of key commands. meta: who runs the command, for the log. approvals: what needs a second person."""

    statuses: KeyStatuses
    rotator: Rotator
    records: RotationRows
    retirer: Retirer
    meta: CommandMeta
    approvals: ProposalRules
    _dsn: str
    _pool: ConnectionPool[BoundedConnection]
    _log: CredentialLog
    _ring: Keyring
    _by_next: bool
    _alone: Keyring
    _people: People
    _secret_keys: SecretKeys

    def wait_until_sealing(self, tell: Callable[[str], None], pause: Callable[[float], None] = time.sleep) -> None:
        """Wait until every node seals with ENCRYPTION_KEY_NEXT; each does within a beat after the last node got it.

        tell: called once with a sentence that names the nodes it waits for. Does nothing where there is no such key.
        Raises StoreUnavailableError.
        """
        if self._by_next:
            wait_for(self._late, tell, pause)

    def _late(self) -> list[str]:
        """Return the names of the nodes that seal with another key."""
        return [one.name for one in live_nodes(self._pool, self._ring) if one.primary_id != self._ring.primary_id]

    def introduce_keys(self) -> None:
        """Record configured keys that are new to the log. Raises StoreUnavailableError."""
        self._people.secret.keep(self._secret_keys, self._log, service_meta(), utc_now)
        introduce_keys(self._log, self._ring, self.meta, utc_now)

    def recorded_run(self) -> RecordedRun:
        """Return a rotation that can be stopped, and whose progress every node can see."""
        return RecordedRun(self.rotator, self.records)

    def verify(self, watch: Watch) -> Verification:
        """Verify that the primary key alone is enough. Raises as `encryption.key_verification.verify` does."""
        return verify(self._dsn, self._pool, self._alone, watch)


def wait_for(
    late: Callable[[], Sequence[str]], tell: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> None:
    """Wait until no node is late, `SEALING_PATIENCE_S` seconds at most, and tell once which nodes it waits for."""
    told = False
    for _ in range(SEALING_PATIENCE_S):
        names = late()
        if not names:
            return
        if not told:
            tell(f"waiting until the new key is in use on {', '.join(names)}")
            told = True
        pause(1)


@contextmanager
def key_operation(environ: Mapping[str, str], dotenv: Path | None, pace: Pace = GENTLE) -> Iterator[KeyOperation]:
    """Open the ledger that the settings name and yield the parts; it is closed when the block ends.

    pace: of a rotation.
    Raises SettingsError, StartError, StoreUnavailableError.
    """
    settings = load(environ, dotenv)
    if settings.encryption_key is None:
        raise StartError("there are no encryption keys: TENANT_CREDENTIALS_ENABLED is not true")
    with open_ledger(settings.database, Purpose.APPEND) as ledger:
        pool, places = ledger.open_pool(), ledger.anchor_places
        require_same_log(pool, places)
        codes = read_codes(pool, code_keys_of(keys_with_next_first(settings), settings.audit_signing_key))
        try:
            yield _parts(ledger, pool, codes, settings, pace)
        finally:
            renew(pool, places, codes)


def _parts(
    ledger: Ledger, pool: ConnectionPool[BoundedConnection], codes: EventCodes, settings: Settings, pace: Pace
) -> KeyOperation:
    primary, *previous = keys_with_next_first(settings)
    secret_keys = secret_keys_of(settings)
    people = people_of(pool, secret_keys)
    ring, alone = Keyring(primary, previous, people.fingerprint), Keyring(primary)
    approvals = agreed_approvals(settings.approvals.named, live_nodes(pool, ring))
    log = CredentialLog(pool, people.sealer, codes, approvals=approvals)
    follower, attesting = audit_trail.follower(pool), Attesting(pool, log, utc_now, lost_keys=settings.allow_unreadable)
    statuses = KeyStatuses(pool, log, ring, follower)
    sealing = LocalReencryption(pool, log, ring, utc_now, pace, codes=lambda: log.codes)
    return KeyOperation(
        statuses=statuses,
        rotator=Rotator(pool, log, ring, utc_now, sealing, attesting.or_say_why),
        records=RotationRows(pool),
        retirer=Retirer(ledger.admin_dsn, pool, log, alone, statuses, utc_now, attesting),
        meta=command_meta(),
        approvals=replace(settings.approvals, named=approvals),
        _dsn=ledger.admin_dsn,
        _pool=pool,
        _log=log,
        _ring=ring,
        _by_next=settings.next_encryption_key is not None,
        _alone=alone,
        _people=people,
        _secret_keys=secret_keys,
    )
