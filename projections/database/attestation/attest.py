"""Attests a database: what differs from what this program ships, and the settings that its promises rest on."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import psycopg

from projections.database.attestation.catalogue import Catalogue, functions, read_catalogue, shipped
from projections.database.attestation.differences import differences
from projections.database.attestation.serving_role import excess_rights
from projections.database.connections import Connection
from projections.database.findings import Finding, Flaw
from projections.database.row_locks import LOG, NODES

_ATTESTED: Sequence[tuple[str, tuple[Flaw, ...]]] = (
    ("tables", (Flaw.TABLES,)),
    ("logged", (Flaw.UNLOGGED,)),
    ("columns", (Flaw.COLUMNS, Flaw.ROW_SECURITY)),
    ("constraints", (Flaw.CONSTRAINTS,)),
    ("indexes", (Flaw.INDEXES, Flaw.SLOW_INDEXES)),
    ("append-only", (Flaw.TRIGGERS,)),
    ("code", (Flaw.FUNCTIONS, Flaw.ADDED_CODE, Flaw.EVENT_TRIGGERS)),
    ("names", (Flaw.SHADOWED,)),
    ("owner", (Flaw.OWNERS,)),
)
_LOOKS = 3
"""Times that a database is looked at before it is said to differ."""
_UNSAFE = """
SELECT name FROM pg_catalog.pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
   AND CASE name WHEN 'synchronous_commit' THEN setting IN ('off', 'local')
                 AND pg_catalog.current_setting('synchronous_standby_names') <> '' ELSE setting = 'off' END
 ORDER BY 1
"""
_OWNERS = """
SELECT count(DISTINCT owner) AS n FROM (
    SELECT relowner AS owner FROM pg_class WHERE oid = ANY (%(oids)s::oid[])
    UNION ALL
    SELECT proowner FROM pg_proc AS p
     WHERE p.pronamespace = %(home)s::regnamespace AND p.proname = ANY (%(names)s::name[])
) AS owners
"""


def attest(connection: Connection, *, newer: bool = False) -> Sequence[Finding]:
    """Return a finding for each part of the store, and one for each kind of difference.

    newer: a newer release migrated the database, so what a migration may add or replace does not count.
    """
    for _ in range(_LOOKS - 1):
        # A replay may swap a table between the statements, or while one of them runs, which may then fail.
        with suppress(psycopg.errors.InternalError_):
            findings = _look(connection, newer=newer)
            if all(one.flaw in {None, Flaw.ROLE} for one in findings):
                return findings
    return _look(connection, newer=newer)


def _look(connection: Connection, *, newer: bool) -> Sequence[Finding]:
    with connection.transaction():
        connection.execute("SET LOCAL quote_all_identifiers = off")  # else all definitions would be written otherwise
        found = read_catalogue(connection)
        if found is None:
            return [Finding("tables", Flaw.TABLES, ("keyledger_events (missing)",))]
        flaws = [*differences(shipped(), found.description, newer=newer), *_others(connection, found)]
        role = excess_rights(connection, found)
    return [*_grouped(flaws), Finding("role", Flaw.ROLE if role else None, tuple(role))]


def _grouped(flaws: Sequence[tuple[Flaw, str]]) -> Iterator[Finding]:
    for assumption, kinds in _ATTESTED:
        grouped = {kind: sorted({name for flaw, name in flaws if flaw is kind}) for kind in kinds}
        wrong = {kind: names for kind, names in grouped.items() if names}
        for kind, names in wrong.items():
            yield Finding(assumption, kind, tuple(names))
        if not wrong:
            yield Finding(assumption)


def _others(connection: Connection, found: Catalogue) -> Iterator[tuple[Flaw, str]]:
    row = connection.execute(_OWNERS, {"oids": found.oids, "home": found.home, "names": list(functions())}).fetchone()
    if row and row["n"] > 1:
        yield Flaw.OWNERS, "tables and functions"


def attest_settings(connection: Connection) -> Iterator[Finding]:
    """Yield whether the server keeps what it has confirmed."""
    off = [row["name"] for row in connection.execute(_UNSAFE)]
    unsafe, risky = [name for name in off if name == "fsync"], [name for name in off if name != "fsync"]
    if unsafe:
        yield Finding("durability", Flaw.UNSAFE_SERVER, tuple(unsafe))
    if risky:
        yield Finding("durability", Flaw.RISKY_SERVER, tuple(risky))
    if not off:
        yield Finding("durability")


def attest_lock_rows(connection: Connection) -> Finding:
    """Return whether the rows that are locked are there. Needs the right to read the table."""
    rows = connection.execute("SELECT name FROM keyledger_locks WHERE name = ANY (%s)", [[LOG, NODES]]).fetchall()
    missing = sorted({LOG, NODES} - {row["name"] for row in rows})
    return Finding("lock rows", Flaw.LOCK_ROWS if missing else None, tuple(missing))
