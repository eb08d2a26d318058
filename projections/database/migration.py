"""The one step that makes and changes tables.

Promises: many processes may call `migrate` at once, at every start; where the schema is present already it locks no
table and needs no right to change one, so the service can run under a role that has none.
Refuses: a database that a newer program has brought further, since this one cannot know what its tables now mean. A
service that runs when that happens goes on until it is replaced: steps only add. Nothing is dropped; the log is never
rewritten. A released step is never edited; a test holds its digest.
"""

from collections.abc import Sequence
from importlib.resources import files

from projections.database.connections import Connection, connect, unavailable

STEPS: Sequence[str] = ("schema.sql", "schema_audit.sql", "schema_fleet.sql")
"""Files of SQL, in order: the first makes version 1, the next brings it to version 2, and so on."""

_LOCK = 0x6B65796C65646765
"""Spells "keyledge": one number for every node."""


class NewerSchemaError(Exception):
    """A newer program has changed the tables."""


def migrate(dsn: str) -> None:
    """Bring the database to the schema of this program. Raises NewerSchemaError, StoreUnavailableError."""
    with connect(dsn) as connection, unavailable(), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        present = version_of(connection)
        if present > len(STEPS):
            raise NewerSchemaError
        for version in range(present + 1, len(STEPS) + 1):
            connection.execute(files("projections.database").joinpath(STEPS[version - 1]).read_bytes())
            connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [version])


def version_of(connection: Connection) -> int:
    """Return the version of the tables, 0 where there are none."""
    known = connection.execute("SELECT to_regclass('keyledger_schema') IS NOT NULL AS known").fetchone()
    if not known or not known["known"]:
        return 0
    newest = connection.execute("SELECT coalesce(max(version), 0) AS version FROM keyledger_schema").fetchone()
    return newest["version"] if newest else 0
