"""The schema of the database, as one file of SQL for each table or function, and the one step that applies it.

Promises: many processes may call `migrate` at once, at every start. Where the schema is current, it takes no lock on a
table and needs no right to change one, so the service can run under a role that has no such right. An interrupted
migration leaves the database as it was. Nothing is dropped; the log is never rewritten.
A change is a new version or, where programs without it work as before, an addition to the version: a table, a column
with a default, an ordinary index, a constraint that refuses what no program writes. A program serves on any additions,
so a release that brings nothing else can be downgraded. A function that changes is a new version: to an earlier program
it would be one that someone replaced. A service that is already running when a newer one brings a version keeps running
until it is replaced.
Refuses: a database of a newer version, since this program cannot know what its tables now mean, and one made before the
first release, whose log has another form.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import psycopg

from projections.database.connections import Connection, connect, unavailable


class Edition(NamedTuple):
    """A state of the schema: its version, and how many additions there are to that version."""

    version: int
    additions: int = 0

    def __str__(self) -> str:
        return f"version {self.version}.{self.additions}"


SCHEMA: Mapping[str, Edition] = {
    "tables/schema_version.sql": Edition(4, 1),
    "functions/refuse_change.sql": Edition(4),
    "tables/locks.sql": Edition(4),
    "functions/lock_log.sql": Edition(4),
    "functions/append.sql": Edition(5),
    "tables/log.sql": Edition(4),
    "tables/event_forms.sql": Edition(4, 1),
    "tables/people.sql": Edition(4),
    "tables/current_credentials.sql": Edition(5, 1),
    "tables/access_keys.sql": Edition(4, 3),
    "tables/tenants.sql": Edition(4, 3),
    "tables/audit_trail.sql": Edition(4, 6),
    "tables/transparency_log.sql": Edition(4),
    "tables/projection_positions.sql": Edition(4),
    "tables/credential_usage.sql": Edition(5, 1),
    "tables/access_key_usage.sql": Edition(5, 1),
    "tables/token_usage.sql": Edition(5, 1),
    "tables/access_key_budgets.sql": Edition(5, 1),
    "tables/operations.sql": Edition(5, 1),
}
"""Files of SQL in the order they are applied, each with the edition of the schema that last changed it.

A file brings any earlier edition of what it holds to the present one, so every statement in it may run again. To change
the schema, edit the file and give it the next edition; a test holds the digest of each file at its edition.
"""

PRESENT = max(SCHEMA.values())
SCHEMA_VERSION = PRESENT.version
FIRST_VERSION = 4
"""The version of the first release; programs before it made versions 1 to 3."""

# The first edition has no column `additions`.
_NEWEST = """
SELECT version, coalesce((to_jsonb(one) ->> 'additions')::bigint, 0) AS additions
  FROM keyledger_schema AS one ORDER BY version DESC LIMIT 1
"""
_ADDED = """
UPDATE keyledger_schema SET additions = %(additions)s WHERE version = %(version)s AND additions < %(additions)s
"""
_GRANT = re.compile(r"^GRANT ([A-Z, ]+) ON (FUNCTION )?(.+?) TO ", re.MULTILINE)


def migrate(dsn: str) -> None:
    """Bring the database to the schema of this program; leave one that it cannot read as it is.

    Raises StoreUnavailableError.
    """
    with connect(dsn) as connection, unavailable():
        while (present := edition_of(connection)).version in {0, *range(FIRST_VERSION, SCHEMA_VERSION + 1)} and (
            present < PRESENT
        ):
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
        present = edition_of(connection)
        for name, edition in SCHEMA.items():
            if again or edition > present:
                connection.execute(statements_of(name).encode())
        for version in range(max(present.version + 1, FIRST_VERSION), SCHEMA_VERSION + 1):
            connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [version])
        connection.execute(_ADDED, PRESENT._asdict())


def statements_of(name: str) -> str:
    """Return the SQL of a file of this folder, such as `functions/append.sql`."""
    return files("projections.database").joinpath(name).read_text("utf-8")


def edition_of(connection: Connection) -> Edition:
    """Return the edition of the schema, 0 where there is none."""
    known = connection.execute("SELECT to_regclass('keyledger_schema') IS NOT NULL AS known").fetchone()
    if not known or not known["known"]:
        return Edition(0)
    newest = connection.execute(_NEWEST).fetchone()
    return Edition(newest["version"], newest["additions"]) if newest else Edition(0)


@cache
def needed_rights() -> tuple[tuple[str, str], ...]:
    """Return the rights the serving role needs: each a privilege and its table or function."""
    granted: list[tuple[str, str]] = []
    for privileges, function, things in _GRANT.findall(statements_of("grants.sql")):
        for thing in [things] if function else things.split(", "):
            granted += [(privilege, thing) for privilege in privileges.split(", ")]
    return tuple(granted)
