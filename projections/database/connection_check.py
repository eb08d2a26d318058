"""Checks what the program assumes of its database, on a connection like those that serve requests.

Promises: each finding is one assumption, with the cause if it does not hold. Nothing is changed: what has to be tried
is rolled back. A finding contains no text of the driver or the server; `names` are our own tables, rights and settings.
Refuses: nothing. The caller decides which findings prevent a start.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from domain.audit.event_catalogue import EVENT_FORM
from projections.database.attestation import attest, attest_lock_rows, attest_settings
from projections.database.connection_failure import Failure, failure_of
from projections.database.connections import (
    DEADLINE,
    BoundedConnection,
    Connection,
    connect_bounded,
    reachable_conninfo,
    unavailable,
)
from projections.database.event_forms import newest_form
from projections.database.findings import Finding, Flaw
from projections.database.migration import FIRST_VERSION, PRESENT, SCHEMA_VERSION, Edition, edition_of, needed_rights

OLDEST_SERVER = 150000


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """The findings. pooled: the connection goes through a pooler. schema: edition of the tables, with version 0 where
    there are none, None where the role may not know.
    """

    findings: tuple[Finding, ...]
    pooled: bool = False
    schema: Edition | None = None

    @property
    def has_present_schema(self) -> bool:
        """Whether no migration is needed."""
        return self.schema is not None and _is_usable(self.schema)


def check_connection(dsn: str, *, attests: bool = True) -> ConnectionReport:
    """Check the database at a libpq URL or parameter list.

    attests: compare it with what this program ships, which waits for those that lock a table.
    Raises StoreUnavailableError if it is lost meanwhile.
    """
    try:
        connection = connect_bounded(dsn)
    except psycopg.Error:
        failure = failure_of(reachable_conninfo(dsn))
        return ConnectionReport((Finding("connection", failure or Failure.NO_ANSWER),))
    with unavailable(), connection:
        schema = edition_of(connection) if _may_read_version(connection) else None
        return ConnectionReport(tuple(_findings(connection, schema, attests=attests)), connection.pooled, schema)


def lead_to_one_database(dsn: str, other: str) -> bool:
    """Say whether two addresses lead to the same database: a lock taken at one is visible at the other.

    Raises StoreUnavailableError.
    """
    name = secrets.randbelow(2**31)
    with unavailable(), connect_bounded(dsn) as here, connect_bounded(other) as there, here.transaction():
        here.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", [name, name])
        row = there.execute(
            "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [name, name],
        ).fetchone()
    return bool(row and row["n"])


def _may_read_version(connection: BoundedConnection) -> bool:
    row = connection.execute(
        "SELECT coalesce(has_table_privilege(to_regclass('keyledger_schema'), 'SELECT'), true) AS may"
    ).fetchone()
    return bool(row and row["may"])


def _is_usable(schema: Edition) -> bool:
    """Say whether this program can use an edition as it is: its own, or one with more additions."""
    return schema.version == SCHEMA_VERSION and schema >= PRESENT


def _flaw_of(schema: Edition) -> Flaw | None:
    if schema.version > SCHEMA_VERSION:
        return Flaw.NEWER_SCHEMA
    return Flaw.OLDER_SCHEMA if 0 < schema.version < FIRST_VERSION else None


def _findings(connection: BoundedConnection, schema: Edition | None, *, attests: bool) -> Iterator[Finding]:
    yield Finding("connection")
    yield Finding("version", None if connection.info.server_version >= OLDEST_SERVER else Flaw.OLD_SERVER)
    if schema is not None:
        yield Finding("schema", _flaw_of(schema))
    yield Finding("time-limits", None if _limits_arrive(connection) else Flaw.TIME_LIMITS)
    yield Finding("locks", None if _locks_end(connection) else Flaw.LOCKS)
    yield from attest_settings(connection)
    if schema is not None and not _is_usable(schema):
        return
    lacking = _lacking(connection)
    yield Finding("rights", Flaw.RIGHTS if lacking else None, tuple(lacking))
    if not lacking:
        yield attest_event_forms(connection)
    if not attests:
        return
    for finding in attest(connection, newer=schema is not None and schema > PRESENT):
        if finding.flaw is not Flaw.ROLE or not lacking:  # grants.sql gives what is missing and takes what is too much
            yield finding
    if not lacking:
        yield attest_lock_rows(connection)


def attest_event_forms(connection: Connection) -> Finding:
    """Return whether this program reads every form of events that the log may hold."""
    form, release = newest_form(connection)
    return Finding("event forms", Flaw.NEWER_EVENTS if form > EVENT_FORM else None, (release,))


def _limits_arrive(connection: BoundedConnection) -> bool:
    row = connection.execute("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'").fetchone()
    return bool(row and row["setting"] == f"{DEADLINE * 1000:.0f}")


def _locks_end(connection: BoundedConnection) -> bool:
    """Say whether a transaction's lock is held during the transaction and released after it."""
    name = secrets.randbelow(2**31)

    def held() -> bool:
        row = connection.execute(
            "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted", [name]
        ).fetchone()
        return bool(row and row["n"])

    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", [name, name])
        during = held()
    return during and not held()


def _lacking(connection: BoundedConnection) -> list[str]:
    """Return the rights of `grants.sql` that the role lacks, each as `RIGHT on thing`."""
    rows = connection.execute(
        "SELECT privilege, thing, CASE WHEN privilege = 'EXECUTE'"
        " THEN has_function_privilege(to_regprocedure(thing), privilege)"
        " ELSE has_table_privilege(to_regclass(thing), privilege) END AS has"
        " FROM unnest(%s::text[], %s::text[]) AS wanted (privilege, thing)",
        [[privilege for privilege, _ in needed_rights()], [thing for _, thing in needed_rights()]],
    )
    return [f"{row['privilege']} on {row['thing'].partition('(')[0]}" for row in rows if not row["has"]]
