"""The schema of the database, as one file of SQL for each table or function, and the one step that applies it.

Promises: many processes may call `migrate` at once, at every start. Where the schema is current, it takes no lock on a
table and needs no right to change one, so the service can run under a role that has no such right. An interrupted
migration leaves the database as it was.
Refuses: a database migrated by a newer program, since this one cannot know what its tables now mean, and one made
before the first release, whose log has another form. A service that is
already running when a newer one migrates keeps running until it is replaced: files only ever add to the schema. Nothing
is dropped; the log is never rewritten.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files

import psycopg

from projections.database.connections import Connection, connect, unavailable

SCHEMA: Mapping[str, int] = {
    "tables/schema_version.sql": 4,
    "functions/refuse_change.sql": 4,
    "tables/locks.sql": 4,
    "functions/lock_log.sql": 4,
    "functions/append.sql": 4,
    "tables/log.sql": 4,
    "tables/people.sql": 4,
    "tables/current_credentials.sql": 4,
    "tables/audit_trail.sql": 4,
    "tables/transparency_log.sql": 4,
    "tables/projection_positions.sql": 4,
    "tables/credential_usage.sql": 4,
    "tables/operations.sql": 5,
}
"""Files of SQL in the order they are applied, each with the version of the schema that last changed it.

A file brings any earlier version of what it holds to the present one, so every statement in it may run again. To change
the schema, edit the file and give it the next version; a test holds the digest of each file at its version.
"""

SCHEMA_VERSION = max(SCHEMA.values())
FIRST_VERSION = 4
"""The version of the first release; programs before it made versions 1 to 3."""

_GRANT = re.compile(r"^GRANT ([A-Z, ]+) ON (FUNCTION )?(.+?) TO ", re.MULTILINE)


def migrate(dsn: str) -> None:
    """Bring the database to the schema of this program; leave one that it cannot read as it is.

    Raises StoreUnavailableError.
    """
    with connect(dsn) as connection, unavailable():
        while (present := version_of(connection)) == 0 or FIRST_VERSION <= present < SCHEMA_VERSION:
            with suppress(psycopg.errors.UniqueViolation):  # another process made the first table meanwhile
                _apply(connection)


def apply_again(dsn: str) -> None:
    """Apply every file again, such as after someone replaced a function. Removes nothing, and changes no row.

    Raises StoreUnavailableError.
    """
    with connect(dsn) as connection, unavailable():
        _apply(connection, again=True)


def _apply(connection: Connection, *, again: bool = False) -> None:
    """Apply the files that are newer than the database, or all of them, in one transaction."""
    with connection.transaction():
        # Making the table waits for a transaction that is making it, and the lock for one that is migrating. Only the
        # owner can hold either; an advisory lock would be open to every role.
        connection.execute(statements_of("tables/schema_version.sql").encode())
        connection.execute("LOCK TABLE keyledger_schema IN EXCLUSIVE MODE")
        present = version_of(connection)
        for name, version in SCHEMA.items():
            if again or version > present:
                connection.execute(statements_of(name).encode())
        for version in range(max(present + 1, FIRST_VERSION), SCHEMA_VERSION + 1):
            connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [version])


def statements_of(name: str) -> str:
    """Return the SQL of a file of this folder, such as `functions/append.sql`."""
    return files("projections.database").joinpath(name).read_text("utf-8")


def version_of(connection: Connection) -> int:
    """Return the version of the schema, 0 where there is none."""
    known = connection.execute("SELECT to_regclass('keyledger_schema') IS NOT NULL AS known").fetchone()
    if not known or not known["known"]:
        return 0
    newest = connection.execute("SELECT coalesce(max(version), 0) AS version FROM keyledger_schema").fetchone()
    return newest["version"] if newest else 0


@cache
def needed_rights() -> tuple[tuple[str, str], ...]:
    """Return the rights the serving role needs: each a privilege and its table or function."""
    granted: list[tuple[str, str]] = []
    for privileges, function, things in _GRANT.findall(statements_of("grants.sql")):
        for thing in [things] if function else things.split(", "):
            granted += [(privilege, thing) for privilege in privileges.split(", ")]
    return tuple(granted)
