"""The ledger as a command that changes it uses it, on the database itself and without a service.

Promises: a log that contradicts its anchor is not written to; when the command ends, the anchor knows the last event.
What a running service needs a second person for, the command does not do alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg_pool import ConnectionPool

from domain.events.event import utc_now
from keyledger.assembly.checks.same_ledger import require_same_log
from keyledger.assembly.command_meta import service_meta
from keyledger.assembly.configuration import code_keys_of, every_key_of, keyring_of, secret_keys_of
from keyledger.assembly.open_ledger import Ledger, Purpose, open_ledger
from keyledger.assembly.people import People, people_of
from keyledger.encryption.approval_agreement import agreed_approvals
from keyledger.encryption.nodes import running_nodes
from keyledger.log.anchors.watch import renew
from keyledger.log.event_codes.attestation import read_codes
from keyledger.log.event_store import CredentialLog
from keyledger.settings.settings import Settings, load
from projections.database.connections import BoundedConnection


@dataclass(frozen=True, slots=True)
class LedgerForChanges:
    """The parts of such a command."""

    settings: Settings
    ledger: Ledger
    pool: ConnectionPool[BoundedConnection]
    people: People
    log: CredentialLog


@contextmanager
def ledger_for_changes(environ: Mapping[str, str], dotenv: Path | None) -> Iterator[LedgerForChanges]:
    """Open the ledger that the settings name; it is closed when the block ends.

    Raises SettingsError, StartError, StoreUnavailableError.
    """
    settings = load(environ, dotenv)
    with open_ledger(settings.database, Purpose.APPEND) as ledger:
        pool, places, secret_keys = ledger.open_pool(), ledger.anchor_places, secret_keys_of(settings)
        require_same_log(pool, places)
        people = people_of(pool, secret_keys)
        code_keys = code_keys_of(every_key_of(settings), settings.audit_signing_key)
        approvals = agreed_approvals(settings.approvals.named, running_nodes(pool, keyring_of(settings)))
        log = CredentialLog(pool, people.sealer, read_codes(pool, code_keys), approvals=approvals)
        people.secret.keep(secret_keys, log, service_meta(), utc_now)
        try:
            yield LedgerForChanges(settings, ledger, pool, people, log)
        finally:
            renew(pool, places, log.codes)
