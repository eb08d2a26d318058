"""The one step that makes and changes tables.

Promises: many processes may call `migrate` at once, at every start; where the schema is present already it locks no
table and needs no right to change one, so the service can run under a role that has none.
Refuses: nothing is dropped; the log is never rewritten.
"""

from hashlib import sha256
from importlib.resources import files

from projections.postgres import Connection, connect, unavailable

_LOCK = 0x6B65796C65646765
"""Spells "keyledge": one number for every node."""


def migrate(dsn: str) -> None:
    """Bring the database to the present schema. Raises StoreUnavailable."""
    schema = _schema()
    with connect(dsn) as connection, unavailable(), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if not is_current(connection):
            connection.execute(schema)
            connection.execute("INSERT INTO keyledger_schema (digest) VALUES (%s)", [sha256(schema).hexdigest()])


def is_current(connection: Connection) -> bool:
    """Say whether the newest schema applied to the database is the one this program was made for."""
    known = connection.execute("SELECT to_regclass('keyledger_schema') IS NOT NULL AS known").fetchone()
    if not known or not known["known"]:
        return False
    newest = connection.execute("SELECT digest FROM keyledger_schema ORDER BY applied_at DESC LIMIT 1").fetchone()
    return newest is not None and newest["digest"] == sha256(_schema()).hexdigest()


def _schema() -> bytes:
    return files("projections").joinpath("schema.sql").read_bytes()
