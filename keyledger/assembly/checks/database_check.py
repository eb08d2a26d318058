"""Checks whether a database can be used, and says in one sentence why not.

Promises: the sentence names the cause and the remedy, and quotes neither the driver nor an address. A finding that does
not prevent a start is logged as a warning.
"""

import logging

from psycopg_pool import ConnectionPool

from domain.errors import StoreUnavailableError
from keyledger.start_error import StartError
from keyledger.store_attestation import RoleRule, sentence_of, stands_in_the_way
from projections.database.connection_check import (
    ConnectionReport,
    attest_event_forms,
    check_connection,
    lead_to_one_database,
)
from projections.database.connection_failure import Failure
from projections.database.connections import BoundedConnection, unavailable
from projections.database.findings import Flaw
from projections.database.migration import migrate

_log = logging.getLogger("keyledger.database")


def prepare_database(
    dsn: str,
    admin_dsn: str | None = None,
    *,
    appends: bool = True,
    attests: bool = True,
    role: RoleRule = RoleRule.IGNORED,
) -> ConnectionReport:
    """Check that the database is usable, create or migrate the tables of this program, and return the findings.

    admin_dsn: where tables are created, if not at `dsn`. attests: as in `check_connection`. appends, role: as in
    `stands_in_the_way`. Raises StartError, StoreUnavailableError.
    """
    report = require_database(dsn, appends=appends, attests=attests, role=role)
    if admin_dsn is not None:
        require_one_database(dsn, admin_dsn)
    if not report.has_present_schema:
        migrate(admin_dsn or dsn)
        report = require_database(dsn, appends=appends, attests=attests, role=role)
        if not report.has_present_schema:
            raise StartError(
                "the role in DATABASE_URL cannot see the tables that the role in DATABASE_ADMIN_URL created: give both"
                " the same search_path, and drop the tables in the other schema"
            )
    return report


def require_database(
    dsn: str,
    setting: str = "DATABASE_URL",
    *,
    appends: bool = True,
    attests: bool = True,
    role: RoleRule = RoleRule.IGNORED,
) -> ConnectionReport:
    """Check a database, create nothing, and return the findings. attests: as in `check_connection`.

    Raises as `prepare_database` does.
    """
    report = check_connection(dsn, attests=attests)
    flawed = [one for one in report.findings if one.flaw is not None]
    for finding in flawed:
        if isinstance(finding.flaw, Failure):
            raise StoreUnavailableError(sentence_of(finding, setting))
    if refused := [one for one in flawed if stands_in_the_way(one, appends=appends, role=role)]:
        raise StartError("; ".join(sentence_of(one, setting) for one in refused))
    for finding in flawed:
        if finding.flaw is not Flaw.ROLE or role is not RoleRule.IGNORED:
            _log.warning("%s", sentence_of(finding, setting))
    return report


def require_reachable(dsn: str, setting: str = "DATABASE_URL") -> None:
    """Require only a recent server that answers, whatever its tables. Raises as `prepare_database` does."""
    for finding in check_connection(dsn, attests=False).findings:
        if isinstance(finding.flaw, Failure):
            raise StoreUnavailableError(sentence_of(finding, setting))
        if finding.flaw is Flaw.OLD_SERVER:
            raise StartError(sentence_of(finding, setting))


def require_readable_events(pool: ConnectionPool[BoundedConnection]) -> None:
    """Require that this program reads the events of the log, whose form another node may have raised meanwhile.

    Raises StartError, StoreUnavailableError.
    """
    with unavailable(), pool.connection() as connection:
        found = attest_event_forms(connection)
    if found.flaw is not None:
        raise StartError(sentence_of(found))


def connections_admitted(pool: ConnectionPool[BoundedConnection]) -> int:
    """Return how many connections the database server admits in all. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        row = connection.execute("SELECT current_setting('max_connections')::integer AS admitted").fetchone()
    assert row is not None  # noqa: S101  every server has the setting
    return int(row["admitted"])


def require_one_database(dsn: str, admin_dsn: str) -> None:
    """Require that DATABASE_URL and DATABASE_ADMIN_URL lead to the same database. Raises as `prepare_database` does.

    Otherwise a migration, a backup or the proof that a key is no longer needed would concern another ledger.
    """
    if dsn == admin_dsn:
        return
    for address, setting in ((dsn, "DATABASE_URL"), (admin_dsn, "DATABASE_ADMIN_URL")):
        require_reachable(address, setting)
    if not lead_to_one_database(dsn, admin_dsn):
        raise StartError("DATABASE_ADMIN_URL leads to another database than DATABASE_URL: make both name the same one")
