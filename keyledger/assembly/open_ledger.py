"""How every command opens the ledger: the database that the settings name, checked for what the command is about to do.

Promises: the database is the one that `serve` finds with the same settings; an embedded server runs until the ledger is
closed. Neither the HTTP interface nor the LLM library is loaded, so a command starts in a fraction of a second.
Refuses: a database that is not fit for the purpose, before anything is read from it or written to it; DATABASE_URL and
DATABASE_ADMIN_URL that lead to different databases. Only the purposes that say so create a database or its tables.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from keyledger.assembly.checks.database_check import (
    prepare_database,
    require_database,
    require_one_database,
    require_reachable,
)
from keyledger.log.anchors.places import AnchorPlace, anchor_places
from keyledger.settings.settings import DatabaseSettings
from keyledger.start_error import StartError
from keyledger.store_attestation import RoleRule
from projections.database.connections import BoundedConnection
from projections.database.pools import open_pool

if TYPE_CHECKING:  # loaded where the embedded server is used
    from keyledger.embedded_postgres import Supervision


class Purpose(Enum):
    """The purpose for which a command opens the ledger.

    APPEND: to write events, as the service does; creates what is missing. VERIFY: to compare the log with its
    projections; creates what is missing, and accepts a log that is not protected against changes.
    READ: to read, or replay, the tables of this version. VERIFY_WITHOUT_KEYS: to compare them. BACK_UP: to copy tables
    of any version. RESTORE: to replace whatever is there; creates a missing embedded database, but no tables. These
    four use the admin role where DATABASE_ADMIN_URL names one.
    A verification attests the store itself, so opening for it does not, unless DATABASE_ROLE_STRICT asks for it.
    """

    APPEND = auto()
    VERIFY = auto()
    READ = auto()
    VERIFY_WITHOUT_KEYS = auto()
    BACK_UP = auto()
    RESTORE = auto()


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger that is open.

    dsn: the address of the database for this purpose. admin_dsn: where tables are made and copied, past any pooler.
    setting: the name of the setting that gave `dsn`.
    """

    dsn: str
    admin_dsn: str
    setting: str
    data_dir: Path
    anchor_dir: Path | None
    _opened: ExitStack

    @property
    def anchor_places(self) -> Sequence[AnchorPlace]:
        """The places of this node's anchor, with nothing known yet."""
        return anchor_places(self.data_dir, self.anchor_dir)

    def open_pool(self) -> ConnectionPool[BoundedConnection]:
        """Open a pool of connections to `dsn`, which is closed with the ledger."""
        pool = open_pool(self.dsn)
        self._opened.callback(pool.close)
        return pool


@contextmanager
def open_ledger(database: DatabaseSettings, purpose: Purpose) -> Iterator[Ledger]:
    """Open the ledger until the block ends.

    Raises StartError, StoreUnavailableError.
    """
    with ExitStack() as opened:
        if purpose in {Purpose.APPEND, Purpose.VERIFY}:
            yield _as_served(database, purpose, opened)
        else:
            yield _as_admin(database, purpose, opened)


def database_of(database: DatabaseSettings, resources: ExitStack) -> str:
    """Return the address that requests go to; starts the embedded server where none is named, until `resources` close.

    Raises StoreUnavailableError.
    """
    return database.url.reveal() if database.url is not None else _embedded(database.data_dir, resources)


def admin_address(database: DatabaseSettings, dsn: str) -> str:
    """Return where tables are made and copied: DATABASE_ADMIN_URL, or else `dsn`, where requests go."""
    return database.admin_url.reveal() if database.admin_url is not None else dsn


def role_rule(database: DatabaseSettings) -> RoleRule:
    """Return what follows from a serving role with more rights than it needs. The embedded server has one role only."""
    if database.url is None or _is_embedded(database.url.reveal(), database.data_dir):
        return RoleRule.IGNORED
    return RoleRule.REFUSED if database.role_strict else RoleRule.NAMED


def supervision_of(dsn: str, data_dir: Path) -> "Supervision | None":
    """Return the part that keeps the embedded server running; None where `dsn` leads to another server."""
    if not str(conninfo_to_dict(dsn).get("host", "")).startswith("/"):
        return None
    from keyledger import embedded_postgres  # not loaded where a server is given

    return embedded_postgres.Supervision(data_dir) if embedded_postgres.leads_to_server(dsn, data_dir) else None


def _is_embedded(dsn: str, data_dir: Path) -> bool:
    """Say whether an address is that of the embedded server, which a service passes on to its processes."""
    if "host=%2F" not in dsn:
        return False
    from keyledger import embedded_postgres  # not loaded where a server is given

    return embedded_postgres.address(data_dir) == dsn


def _as_served(database: DatabaseSettings, purpose: Purpose, opened: ExitStack) -> Ledger:
    dsn = database_of(database, opened)
    admin_dsn = admin_address(database, dsn)
    strict = role_rule(database) is RoleRule.REFUSED  # a warning at every command would be read by no one
    role = RoleRule.REFUSED if strict else RoleRule.IGNORED
    appends = purpose is Purpose.APPEND
    prepare_database(dsn, admin_dsn, appends=appends, attests=appends or strict, role=role)
    setting = "DATABASE_URL" if database.url is not None else "DATA_DIR"
    return Ledger(dsn, admin_dsn, setting, database.data_dir, database.anchor_dir, opened)


def _as_admin(database: DatabaseSettings, purpose: Purpose, opened: ExitStack) -> Ledger:
    dsn, setting = _admin_database(database, opened, create=purpose is Purpose.RESTORE)
    if purpose is Purpose.RESTORE:
        require_reachable(dsn, setting)
    else:
        report = require_database(dsn, setting, appends=False, attests=purpose is Purpose.READ)
        if purpose is not Purpose.BACK_UP and not report.has_present_schema:
            raise StartError(
                "the database does not have the schema of this version; start the service once to migrate it"
            )
    return Ledger(dsn, dsn, setting, database.data_dir, database.anchor_dir, opened)


def _admin_database(database: DatabaseSettings, opened: ExitStack, *, create: bool) -> tuple[str, str]:
    """Return the address for the admin role, and the setting that gave it."""
    url, setting = (
        (database.admin_url, "DATABASE_ADMIN_URL") if database.admin_url is not None else (database.url, "DATABASE_URL")
    )
    if url is None:
        return _embedded(database.data_dir, opened, create=create), "DATA_DIR"
    if database.url is not None:
        require_one_database(database.url.reveal(), url.reveal())
    return url.reveal(), setting


def _embedded(data_dir: Path, opened: ExitStack, *, create: bool = True) -> str:
    from keyledger import embedded_postgres  # not loaded where a server is given

    if not create and embedded_postgres.status(data_dir) == "absent":
        raise StartError(f"there is no database in {data_dir}; set DATABASE_URL or DATA_DIR to the one you mean")
    return opened.enter_context(embedded_postgres.start(data_dir)).dsn()
