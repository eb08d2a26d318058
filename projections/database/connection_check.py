"""Checks what the program assumes of its database, on a connection like those that serve requests.

Promises: each finding is one assumption, with the cause if it does not hold. Nothing is changed: what has to be tried
is rolled back. A finding contains no text of the driver or the server; `names` are our own tables, rights and settings.
Refuses: nothing. The caller decides which findings prevent a start.
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import psycopg

from projections.database.connection_failure import Failure, failure_of
from projections.database.connections import (
    DEADLINE,
    EVENTS_TABLE,
    BoundedConnection,
    connect_bounded,
    reachable_conninfo,
    unavailable,
)
from projections.database.migration import FIRST_VERSION, SCHEMA_VERSION, statements_of, version_of

OLDEST_SERVER = 150000
_APPEND_ONLY = {EVENTS_TABLE: "keyledger_events_append_only", "keyledger_ledger": "keyledger_ledger_append_only"}
_REFUSES_ALL = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5
"""Bits of pg_trigger.tgtype: before, DELETE, UPDATE, TRUNCATE; not for each row."""
_GRANT = re.compile(r"^GRANT ([A-Z, ]+) ON (FUNCTION )?(.+?) TO ", re.MULTILINE)


class Flaw(StrEnum):
    """A defect of a database that can be reached."""

    OLD_SERVER = "old-server"
    NEWER_SCHEMA = "newer-schema"
    OLDER_SCHEMA = "older-schema"
    RIGHTS = "rights"
    TRIGGERS = "triggers"
    TIME_LIMITS = "time-limits"
    LOCKS = "locks"
    UNLOGGED = "unlogged"
    UNSAFE_COMMIT = "unsafe-commit"
    UNSAFE_SERVER = "unsafe-server"


@dataclass(frozen=True, slots=True)
class Finding:
    """One assumption. flaw: None if it holds. names: the tables, rights or settings concerned."""

    assumption: str
    flaw: Failure | Flaw | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """The findings. pooled: the connection goes through a pooler. schema: version of the tables, 0 where there are
    none, None where the role may not know.
    """

    findings: tuple[Finding, ...]
    pooled: bool = False
    schema: int | None = None

    @property
    def has_present_schema(self) -> bool:
        """Whether no migration is needed."""
        return self.schema == SCHEMA_VERSION


def check_connection(dsn: str) -> ConnectionReport:
    """Check the database at a libpq URL or parameter list.

    Raises StoreUnavailableError if it is lost meanwhile.
    """
    try:
        connection = connect_bounded(dsn)
    except psycopg.Error:
        failure = failure_of(reachable_conninfo(dsn))
        return ConnectionReport((Finding("connection", failure or Failure.NO_ANSWER),))
    with unavailable(), connection:
        schema = version_of(connection) if _may_read_version(connection) else None
        return ConnectionReport(tuple(_findings(connection, schema)), connection.pooled, schema)


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


def _flaw_of(schema: int) -> Flaw | None:
    if schema > SCHEMA_VERSION:
        return Flaw.NEWER_SCHEMA
    return Flaw.OLDER_SCHEMA if 0 < schema < FIRST_VERSION else None


def _findings(connection: BoundedConnection, schema: int | None) -> Iterator[Finding]:
    yield Finding("connection")
    yield Finding("version", None if connection.info.server_version >= OLDEST_SERVER else Flaw.OLD_SERVER)
    if schema is not None:
        yield Finding("schema", _flaw_of(schema))
    yield Finding("time-limits", None if _limits_arrive(connection) else Flaw.TIME_LIMITS)
    yield Finding("locks", None if _locks_end(connection) else Flaw.LOCKS)
    yield _named("durability", Flaw.UNSAFE_SERVER, _switched_off(connection))
    if schema not in {None, SCHEMA_VERSION}:
        return
    lacking = _lacking(connection)
    yield _named("rights", Flaw.RIGHTS, lacking)
    yield _named("append-only", Flaw.TRIGGERS, _unguarded(connection))
    yield _named("logged", Flaw.UNLOGGED, _unlogged(connection))
    if not lacking:
        yield Finding("commit", None if _append_is_durable(connection) else Flaw.UNSAFE_COMMIT)


def _named(assumption: str, flaw: Flaw, names: Sequence[str]) -> Finding:
    return Finding(assumption, flaw if names else None, tuple(names))


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


def _switched_off(connection: BoundedConnection) -> list[str]:
    names = ["fsync", "full_page_writes"]
    rows = connection.execute("SELECT name FROM pg_settings WHERE name = ANY (%s) AND setting = 'off'", [names])
    return sorted(row["name"] for row in rows)


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


@cache
def needed_rights() -> tuple[tuple[str, str], ...]:
    """Return the rights the serving role needs: each a privilege and its table or function."""
    granted: list[tuple[str, str]] = []
    for privileges, function, things in _GRANT.findall(statements_of("grants.sql")):
        for thing in [things] if function else things.split(", "):
            granted += [(privilege, thing) for privilege in privileges.split(", ")]
    return tuple(granted)


def _unguarded(connection: BoundedConnection) -> list[str]:
    """Return the append-only tables whose trigger is missing or does not always fire."""
    rows = connection.execute(
        "SELECT relation FROM unnest(%s::text[], %s::text[]) AS wanted (relation, trigger) WHERE NOT EXISTS ("
        " SELECT FROM pg_trigger WHERE tgrelid = to_regclass(relation) AND tgname = trigger AND tgenabled = 'A'"
        " AND tgtype = %s AND tgqual IS NULL AND tgfoid = to_regproc('keyledger_refuse_change'))",
        [list(_APPEND_ONLY), list(_APPEND_ONLY.values()), _REFUSES_ALL],
    )
    return [row["relation"] for row in rows]


def _unlogged(connection: BoundedConnection) -> list[str]:
    """Return the tables that a crash of the server would empty."""
    tables = sorted({thing for privilege, thing in needed_rights() if privilege == "SELECT"})
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE oid = ANY (SELECT to_regclass(unnest(%s::text[])))"
        " AND relpersistence <> 'p' ORDER BY 1",
        [tables],
    )
    return [row["relname"] for row in rows]


def _append_is_durable(connection: BoundedConnection) -> bool:
    """Say whether an append waits for the disk even if the server's default is not to. Appends nothing."""
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL synchronous_commit = off")
        connection.execute("SELECT keyledger_append('{}', '{}', '{}', '{}', NULL, '{}', NULL, clock_timestamp(), '[]')")
        row = connection.execute("SELECT current_setting('synchronous_commit') AS value").fetchone()
    return bool(row and row["value"] != "off")
