"""What stands between this program and its database, in one sentence, and the refusal to start because of it.

Promises: the sentence names the cause and what to do, and quotes neither the driver nor an address. A finding that does
not stand in the way of a start is a warning.
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
from projections.database.connection_refusal import Refusal
from projections.database.migration import migrate

_log = logging.getLogger("keyledger.database")

_REFUSALS: Mapping[Refusal, str] = {
    Refusal.NAME_UNKNOWN: "the host that {setting} names cannot be found: check its name, or the name service",
    Refusal.NOTHING_LISTENS: "nothing listens where {setting} leads: start the server, or check host and port",
    Refusal.NO_ANSWER: "the server that {setting} names does not answer in time: check host, port, firewall and load",
    Refusal.PASSWORD: "the server refuses the password in {setting}, or knows no such role: check both",
    Refusal.PASSWORD_MISSING: "the server asks for a password and {setting} has none: add it",
    Refusal.ROLE_UNKNOWN: "the role in {setting} does not exist, or may not log in: create it, or check its name",
    Refusal.DATABASE_UNKNOWN: "the database in {setting} does not exist on that server: create it, or check its name",
    Refusal.ADDRESS_REFUSED: "the server lets nobody in from this address as that role to that database: add a line to"
    " its pg_hba.conf",
    Refusal.TLS_REQUIRED: "the server takes connections over TLS only: set sslmode=require or better in {setting}",
    Refusal.TLS_FAILED: "sslmode in {setting} demands TLS, and the server has none, or a certificate that is not"
    " trusted: check sslmode and sslrootcert",
    Refusal.TOO_MANY_CONNECTIONS: "the server has no connection left: raise its max_connections, or put a pooler before"
    " it",
    Refusal.STARTING_OR_STOPPING: "the server is starting, stopping or recovering: try again in a moment",
    Refusal.RIGHT_TO_CONNECT: "the role in {setting} may not connect to that database: GRANT CONNECT to it",
    Refusal.OPTIONS: "a pooler refuses the parameter options in {setting}: leave it out; time limits need none",
    Refusal.POOLER: "a pooler refuses: it knows no such database or role, the password is wrong, or its server is down;"
    " its log says which",
    Refusal.READ_ONLY: "{setting} leads to a server that takes no writes, such as a standby: name the primary, or all"
    " hosts",
    Refusal.REFUSED_BY_SERVER: "the server refuses the connection; its log says why",
}
_FLAWS: Mapping[Flaw, str] = {
    Flaw.OLD_SERVER: "the server is older than PostgreSQL 15: upgrade it",
    Flaw.NEWER_SCHEMA: "a newer release of KeyLedger has changed the tables of this database: run that release",
    Flaw.RIGHTS: "the role in {setting} lacks rights: {names}; the owner gives them with grants.sql, as"
    " docs/operations.md shows",
    Flaw.TRIGGERS: "{names} is not protected against changes: its trigger is gone or switched off; find out who did"
    " it, then restore a backup or let the owner run: ALTER TABLE ... ENABLE ALWAYS TRIGGER",
    Flaw.TIME_LIMITS: "time limits do not arrive at the server, so a statement could hang: look at what is between",
    Flaw.LOCKS: "locks of a transaction do not hold, so two writers could append at once: look at what is between",
    Flaw.UNLOGGED: "{names} would be empty after a crash of the server: ALTER TABLE ... SET LOGGED",
    Flaw.UNSAFE_COMMIT: "an append would not wait for the disk: the function keyledger_append is not the one that this"
    " program made",
    Flaw.UNSAFE_SERVER: "{names} is off at the server, so a power cut can lose what was acknowledged: switch it on",
}
_WARNINGS = frozenset({Flaw.UNSAFE_SERVER})
_NOT_IN_THE_WAY_OF_LOOKING = frozenset({Flaw.TRIGGERS, Flaw.UNLOGGED, Flaw.UNSAFE_COMMIT})


def sentence_of(finding: Finding, setting: str = "DATABASE_URL") -> str:
    """Return what a person has to know of a finding, "" where all is as it has to be.

    setting: what gave the address.
    """
    if finding.flaw is None:
        return ""
    said = _REFUSALS[finding.flaw] if isinstance(finding.flaw, Refusal) else _FLAWS[finding.flaw]
    return said.format(setting=setting, names=", ".join(finding.names))


def stands_in_the_way(finding: Finding, *, appends: bool = True) -> bool:
    """Say whether nobody must start on it. appends: False for who only looks, saves, or computes views anew."""
    if finding.flaw is None or finding.flaw in _WARNINGS:
        return False
    return appends or finding.flaw not in _NOT_IN_THE_WAY_OF_LOOKING


def prepare_database(dsn: str, admin_dsn: str | None = None, *, appends: bool = True) -> None:
    """Require a database that can be served, with the tables of this program, which are made where they are missing.

    admin_dsn: where tables are made, if not at `dsn`. appends: as in `stands_in_the_way`.
    Raises StartError, StoreUnavailableError.
    """
    report = require_database(dsn, appends=appends)
    if admin_dsn is not None:
        require_one_database(dsn, admin_dsn)
    if not report.has_present_schema:
        migrate(admin_dsn or dsn)
        if not require_database(dsn, appends=appends).has_present_schema:
            raise StartError(
                "the role in DATABASE_URL does not find the tables that the role in DATABASE_ADMIN_URL made: give both"
                " the same search_path, and drop what was made in the other schema"
            )


def require_database(dsn: str, setting: str = "DATABASE_URL", *, appends: bool = True) -> ConnectionReport:
    """Check a database and return what was found. Raises as `prepare_database` does."""
    report = check_connection(dsn)
    for finding in report.findings:
        if stands_in_the_way(finding, appends=appends):
            sentence = sentence_of(finding, setting)
            raise StoreUnavailableError(sentence) if isinstance(finding.flaw, Refusal) else StartError(sentence)
    for warning in _warnings(report):
        _log.warning("%s", warning)
    return report


def require_reachable(dsn: str, setting: str = "DATABASE_URL") -> None:
    """Require only that it answers and can be served once it has tables. Raises as `prepare_database` does."""
    for finding in check_connection(dsn).findings:
        if isinstance(finding.flaw, Refusal):
            raise StoreUnavailableError(sentence_of(finding, setting))
        if finding.flaw is Flaw.OLD_SERVER:
            raise StartError(sentence_of(finding, setting))


def require_one_database(dsn: str, admin_dsn: str) -> None:
    """Require that DATABASE_URL and DATABASE_ADMIN_URL are two ways to one database: on another, a migration, a backup
    or the proof that a key can go would be about somebody else's ledger. Raises as `prepare_database` does."""
    if dsn == admin_dsn:
        return
    for address, setting in ((dsn, "DATABASE_URL"), (admin_dsn, "DATABASE_ADMIN_URL")):
        require_reachable(address, setting)
    if not lead_to_one_database(dsn, admin_dsn):
        raise StartError("DATABASE_ADMIN_URL leads to another database than DATABASE_URL: let both name the same one")


def _warnings(report: ConnectionReport) -> Iterator[str]:
    return filter(None, map(sentence_of, report.findings))
