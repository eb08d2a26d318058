"""The one step that makes and changes tables.

Promises: many processes may call `migrate` at once, at every start; where the schema is present already it locks no
table and needs no right to change one, so the service can run under a role that has none. A database that a newer
program has brought further is left as it is: steps only add, so programs of both versions serve side by side while a
fleet is being replaced.
Refuses: nothing is dropped; the log is never rewritten. A released step is never edited; a test holds its digest.
"""

from collections.abc import Sequence
from importlib.resources import files

from projections.postgres import Connection, connect, unavailable

STEPS: Sequence[str] = ("schema.sql", "schema_audit.sql", "schema_fleet.sql")
"""Files of SQL, in order: the first makes version 1, the next brings it to version 2, and so on."""

_LOCK = 0x6B65796C65646765
"""Spells "keyledge": one number for every node."""


def migrate(dsn: str) -> None:
    """Bring the database at least to the schema of this program. Raises StoreUnavailable."""
    with connect(dsn) as connection, unavailable(), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for version in range(version_of(connection) + 1, len(STEPS) + 1):
            connection.execute(files("projections").joinpath(STEPS[version - 1]).read_bytes())
            connection.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [version])


def is_current(connection: Connection) -> bool:
    """Say whether the database has at least the schema this program was made for."""
    return version_of(connection) >= len(STEPS)


def version_of(connection: Connection) -> int:
    """Return the last step that the database has had; 0 before the first."""
    known = connection.execute("SELECT to_regclass('keyledger_schema') IS NOT NULL AS known").fetchone()
    if not known or not known["known"]:
        return 0
    newest = connection.execute("SELECT coalesce(max(version), 0) AS version FROM keyledger_schema").fetchone()
    return newest["version"] if newest else 0
