"""Checks whether a database can be used, and says in one sentence why not.

Promises: the sentence names the cause and the remedy, and quotes neither the driver nor an address. A finding that does
not prevent a start is logged as a warning.
"""

import logging
from collections.abc import Iterator, Mapping

from domain.errors import StoreUnavailableError
from keyledger.start_error import StartError
from projections.database.connection_check import (
    ConnectionReport,
    Finding,
    Flaw,
    check_connection,
    lead_to_one_database,
)
from projections.database.connection_failure import Failure
from projections.database.migration import migrate

_log = logging.getLogger("keyledger.database")

_FAILURES: Mapping[Failure, str] = {
    Failure.NAME_UNKNOWN: "the host in {setting} cannot be found: check its name and DNS",
    Failure.NOTHING_LISTENS: "nothing listens at the address in {setting}: start the server, or check host and port",
    Failure.NO_ANSWER: "the server in {setting} does not answer in time: check host, port, firewall and load",
    Failure.PASSWORD: "the server rejects the role or the password in {setting}: check both",
    Failure.PASSWORD_MISSING: "the server requires a password and {setting} has none: add it",
    Failure.ROLE_UNKNOWN: "the role in {setting} does not exist, or may not log in: create it, or check its name",
    Failure.DATABASE_UNKNOWN: "the database in {setting} does not exist on that server: create it, or check its name",
    Failure.ADDRESS_REFUSED: "the server does not admit this address with that role and database: add a line to"
    " its pg_hba.conf",
    Failure.TLS_REQUIRED: "the server accepts only TLS connections: set sslmode=require or stricter in {setting}",
    Failure.TLS_FAILED: "sslmode in {setting} requires TLS, but the server has none, or a certificate that is not"
    " trusted: check sslmode and sslrootcert",
    Failure.TOO_MANY_CONNECTIONS: "the server has no connection left: raise its max_connections, or put a pooler in"
    " front of it",
    Failure.STARTING_OR_STOPPING: "the server is starting, stopping or recovering: try again in a moment",
    Failure.RIGHT_TO_CONNECT: "the role in {setting} may not connect to that database: grant it CONNECT",
    Failure.OPTIONS: "the pooler rejects the parameter `options` in {setting}: remove it; time limits work without it",
    Failure.POOLER: "the pooler refuses the connection: unknown database or role, wrong password, or its server is"
    " down; its log says which",
    Failure.READ_ONLY: "the server in {setting} is read-only, such as a standby: name the primary, or list all hosts",
    Failure.REFUSED_BY_SERVER: "the server refuses the connection; its log says why",
}
_FLAWS: Mapping[Flaw, str] = {
    Flaw.OLD_SERVER: "the server is older than PostgreSQL 15: upgrade it",
    Flaw.NEWER_SCHEMA: "a newer release of KeyLedger has migrated this database: run that release",
    Flaw.OLDER_SCHEMA: "a program from before the first release made this database, and its log has another form:"
    " name an empty database in {setting}, or another DATA_DIR",
    Flaw.RIGHTS: "the role in {setting} lacks privileges: {names}; the owner grants them with grants.sql, as"
    " docs/operations.md shows",
    Flaw.TRIGGERS: "{names} is not protected against changes: its trigger is missing or disabled; find out who did"
    " it, then restore a backup or have the owner run: ALTER TABLE ... ENABLE ALWAYS TRIGGER",
    Flaw.TIME_LIMITS: "time limits do not reach the server, so a statement could hang: check what is in between",
    Flaw.LOCKS: "transaction locks do not hold, so two writers could append at once: check what is in between",
    Flaw.UNLOGGED: "{names} would be empty after a server crash: run ALTER TABLE ... SET LOGGED",
    Flaw.UNSAFE_COMMIT: "an append may not wait for the disk: the function keyledger_append is not the one that this"
    " program made",
    Flaw.UNSAFE_SERVER: "{names} is off on the server, so a power failure can lose acknowledged writes: turn it on",
}
_WARNINGS = frozenset({Flaw.UNSAFE_SERVER})
_NOT_IN_THE_WAY_OF_LOOKING = frozenset({Flaw.TRIGGERS, Flaw.UNLOGGED, Flaw.UNSAFE_COMMIT})


def sentence_of(finding: Finding, setting: str = "DATABASE_URL") -> str:
    """Return a finding in one sentence for people, "" where the assumption holds.

    setting: the name of the setting that gave the address.
    """
    if finding.flaw is None:
        return ""
    said = _FAILURES[finding.flaw] if isinstance(finding.flaw, Failure) else _FLAWS[finding.flaw]
    return said.format(setting=setting, names=", ".join(finding.names))


def stands_in_the_way(finding: Finding, *, appends: bool = True) -> bool:
    """Say whether a finding prevents a start. appends: False for a command that only reads, backs up or replays."""
    if finding.flaw is None or finding.flaw in _WARNINGS:
        return False
    return appends or finding.flaw not in _NOT_IN_THE_WAY_OF_LOOKING


def prepare_database(dsn: str, admin_dsn: str | None = None, *, appends: bool = True) -> None:
    """Check that the database is usable, and create or migrate the tables of this program.

    admin_dsn: where tables are created, if not at `dsn`. appends: as in `stands_in_the_way`.
    Raises StartError, StoreUnavailableError.
    """
    report = require_database(dsn, appends=appends)
    if admin_dsn is not None:
        require_one_database(dsn, admin_dsn)
    if not report.has_present_schema:
        migrate(admin_dsn or dsn)
        if not require_database(dsn, appends=appends).has_present_schema:
            raise StartError(
                "the role in DATABASE_URL cannot see the tables that the role in DATABASE_ADMIN_URL created: give both"
                " the same search_path, and drop the tables in the other schema"
            )


def require_database(dsn: str, setting: str = "DATABASE_URL", *, appends: bool = True) -> ConnectionReport:
    """Check a database, create nothing, and return the findings. Raises as `prepare_database` does."""
    report = check_connection(dsn)
    for finding in report.findings:
        if stands_in_the_way(finding, appends=appends):
            sentence = sentence_of(finding, setting)
            raise (StoreUnavailableError(sentence) if isinstance(finding.flaw, Failure) else StartError(sentence))
    for warning in _warnings(report):
        _log.warning("%s", warning)
    return report


def require_reachable(dsn: str, setting: str = "DATABASE_URL") -> None:
    """Require only a recent server that answers, whatever its tables. Raises as `prepare_database` does."""
    for finding in check_connection(dsn).findings:
        if isinstance(finding.flaw, Failure):
            raise StoreUnavailableError(sentence_of(finding, setting))
        if finding.flaw is Flaw.OLD_SERVER:
            raise StartError(sentence_of(finding, setting))


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


def _warnings(report: ConnectionReport) -> Iterator[str]:
    return filter(None, map(sentence_of, report.findings))
