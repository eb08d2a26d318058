"""The parts that a command about personal data works with, on the database itself and without a service.

Promises: what `ledger_for_changes` does; erasures that DATA_DIR knows are in force before anything is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from psycopg_pool import ConnectionPool

from domain.approvals.needs import Approval
from domain.audit.request_events import audit_exported
from domain.events.event import CommandMeta, utc_now
from domain.operations.erasure import PersonErased
from keyledger.assembly.command_meta import command_meta, service_meta
from keyledger.assembly.for_commands.ledger_for_changes import ledger_for_changes
from keyledger.encryption.personal_keys import Kind
from keyledger.log.event_store import CredentialLog
from keyledger.privacy.erasure import Eraser, Present
from keyledger.privacy.erasure_file import ErasureFile
from keyledger.privacy.report import PersonReport, report_on
from keyledger.privacy.sealed_history import sealed_history
from keyledger.privacy.upkeep import PrivacyUpkeep
from projections.audit import audit_trail
from projections.audit.search import PostgresAuditTrail
from projections.database.connections import BoundedConnection


@dataclass(frozen=True, slots=True)
class Erased:
    """The outcome of an erasure.

    credentials: how many were deleted. sealed: how many API keys of an erased tenant the log still holds, by the id of
    the encryption key that opens them.
    """

    event: PersonErased
    credentials: int = 0
    sealed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrivacyOperation:
    """The parts of privacy commands. meta: who runs the command, for the log."""

    meta: CommandMeta
    _pool: ConnectionPool[BoundedConnection]
    _log: CredentialLog
    _eraser: Eraser
    _trail: PostgresAuditTrail

    def find(self, kind: Kind, name: str) -> Present | None:
        """Return the person or tenant of a name; None if nothing is kept. Raises StoreUnavailableError."""
        return self._eraser.find(kind, name)

    def waiting(self, kind: Kind, name: str) -> Sequence[str]:
        """Return the providers of a tenant whose credentials a second person has to delete before an erasure.

        Raises StoreUnavailableError.
        """
        if kind is not Kind.TENANT or Approval.DELETE not in self._log.approvals:
            return []
        return self._eraser.live_providers(name)

    def erase(self, kind: Kind, name: str, found: Present, reason: str) -> Erased:
        """Erase a person, or a tenant with all credentials.

        Raises UnreadableFileError, OSError if DATA_DIR cannot be written, StoreUnavailableError, and
        CredentialIntegrityError after the erasure where the log cannot be read.
        """
        meta = replace(self.meta, reason=reason)
        if kind is not Kind.TENANT:
            return Erased(self._eraser.erase(found, None, meta))
        ended = self._eraser.end_credentials(name, meta)
        event = self._eraser.erase(found, name, meta)
        return Erased(event, ended, sealed_history(self._pool, self._log, audit_trail.follower(self._pool), name))

    def report(self, actor: str) -> PersonReport:
        """Record that the report is taken, and return it. Raises StoreUnavailableError, CredentialIntegrityError."""
        self._log.append([audit_exported(self.meta, utc_now(), "privacy-report", f"actor:{actor}")])
        return report_on(actor, self._trail)


@contextmanager
def privacy_operation(environ: Mapping[str, str], dotenv: Path | None) -> Iterator[PrivacyOperation]:
    """Open the ledger that the settings name and yield the parts; it is closed when the block ends.

    Raises SettingsError, StartError, StoreUnavailableError.
    """
    with ledger_for_changes(environ, dotenv) as opened:
        pool, log, people = opened.pool, opened.log, opened.people
        file = ErasureFile(opened.ledger.data_dir, opened.ledger.anchor_dir)
        eraser = Eraser(pool, log, people.keys, file, utc_now)
        PrivacyUpkeep(eraser, lambda: opened.settings.personal_data_days, service_meta).run()
        trail = PostgresAuditTrail(pool, audit_trail.follower(pool), people.reader)
        yield PrivacyOperation(command_meta(), pool, log, eraser, trail)
