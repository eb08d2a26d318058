"""A restore from a file: check, replace, verify.

Promises: nothing is changed before every check has passed. Of the settings only DATABASE_URL, DATABASE_ADMIN_URL and
DATA_DIR are read; no key is needed.
Refuses: a database that a running service uses, and a dump made by a newer release.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from keyledger.assembly.checks.database_check import prepare_database
from keyledger.assembly.checks.same_ledger import contradiction_of
from keyledger.assembly.open_ledger import Ledger, Purpose, open_ledger
from keyledger.backup.dump import Contents, Told, read_dump
from keyledger.backup.errors import BackupError
from keyledger.backup.programs import Programs, programs_of
from keyledger.backup.replacing import replace_by
from keyledger.encryption.nodes import running_nodes
from keyledger.log.anchors.contradiction import Contradiction
from keyledger.log.anchors.places import AnchorPlace
from keyledger.settings.settings import load_database
from keyledger.store_verification import StoreVerdict, catch_up, verify_store
from projections.database.connections import connect, unavailable
from projections.database.migration import SCHEMA_VERSION
from projections.database.pools import open_pool


@dataclass(frozen=True, slots=True)
class Restoration:
    """A restore whose checks have passed. contents: of the dump. replaces: a sentence about what it will replace."""

    contents: Contents
    replaces: str
    _dump: IO[bytes]
    _dsn: str
    _places: Sequence[AnchorPlace]
    _programs: Programs

    def carry_out(self, told: Told, *, without_roles: bool) -> None:
        """Replace the ledger, and migrate its tables to this release. Raises BackupError, StoreUnavailableError."""
        replace_by(self._dump, self.contents, self._programs, told, without_roles=without_roles)
        prepare_database(self._dsn, appends=False, attests=False)  # `verify` attests

    def verify(self, told: Told) -> tuple[StoreVerdict, Contradiction | None]:
        """Verify the ledger without keys, and return the verdict and how the log contradicts this node's anchor.

        Raises StoreUnavailableError.
        """
        with closing(open_pool(self._dsn)) as pool, TemporaryDirectory() as without_checkpoint:
            catch_up(pool)
            # Not with the kept checkpoint: like the anchor, it contradicts an older backup until the operator accepts.
            verdict = verify_store(self._dsn, None, Path(without_checkpoint), told)
            return verdict, contradiction_of(pool, self._places)


@contextmanager
def restoring(environ: Mapping[str, str], dotenv: Path | None, dump: IO[bytes]) -> Iterator[Restoration]:
    """Check a dump and the database that the settings name, and yield the restore.

    Raises BackupError, SettingsError, StartError and StoreUnavailableError.
    """
    with open_ledger(load_database(environ, dotenv), Purpose.RESTORE) as ledger:
        yield _look(ledger, dump)


def _look(ledger: Ledger, dump: IO[bytes]) -> Restoration:
    programs = programs_of(ledger.dsn, ledger.setting)
    contents = read_dump(programs, dump, lambda step, done, total: None)
    if contents.schema > SCHEMA_VERSION:
        raise BackupError("a newer release of KeyLedger made it: restore it with that release", about_file=True)
    return Restoration(contents, _require_idle(ledger.dsn), dump, ledger.dsn, ledger.anchor_places, programs)


def _require_idle(dsn: str) -> str:
    """Return a sentence about what is there. Raises BackupError while a service uses the database."""
    with connect(dsn) as connection, unavailable():
        row = connection.execute("SELECT to_regclass('nodes') IS NOT NULL AS known").fetchone()
        if not row or not row["known"]:
            return "there is no ledger to replace"
        head = connection.execute(
            "SELECT count(*) AS n, coalesce(max(notification_id), 0) AS head FROM keyledger_events"
        ).fetchone() or {"n": 0, "head": 0}
    with closing(open_pool(dsn)) as pool:
        if running := running_nodes(pool, None):
            names = ", ".join(sorted({node.name for node in running}))
            raise BackupError(
                f"a service uses this database, or did a moment ago: {names}; stop it first. Nothing was changed"
            )
    return f"it replaces {head['n']:,} events up to position {head['head']:,}"
