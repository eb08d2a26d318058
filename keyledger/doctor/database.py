"""The database: whether it answers, its version and schema, the rights of our role, and what guards the log."""

from collections.abc import Iterator, Sequence

from domain.errors import ServiceError
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import CannotLook, Finding, fault, listed, ok, warning
from projections.migration import STEPS, version_of
from projections.postgres import Connection, connect, unavailable

SUBJECT = "database"
OLDEST = 15
"""The oldest major version of PostgreSQL that the service runs on."""
RIGHTS: Sequence[tuple[str, str]] = (
    ("keyledger_schema", "SELECT"),
    ("keyledger_ledger", "SELECT"),
    ("keyledger_events", "SELECT, INSERT"),
    ("current_credentials", "SELECT, INSERT, UPDATE"),
    ("audit_trail", "SELECT, INSERT"),
    ("transparency_log", "SELECT, INSERT, UPDATE"),
    ("projection_positions", "SELECT, INSERT, UPDATE"),
    ("credential_usage", "SELECT, INSERT, UPDATE"),
    ("nodes", "SELECT, INSERT, UPDATE, DELETE"),
    ("key_rotations", "SELECT, INSERT, UPDATE"),
    ("projection_replays", "SELECT, INSERT, UPDATE"),
)
"""What the service does with each table; `grants.sql` gives no more."""
GUARDED = ("keyledger_events", "keyledger_ledger")

# Each right by itself: PostgreSQL says of a list whether any of it is there.
_MISSING = """
SELECT wanted.name AS table, array_agg(wanted.one) AS rights
  FROM (SELECT w.name, btrim(one) AS one
          FROM unnest(%s::text[], %s::text[]) AS w (name, rights),
               unnest(string_to_array(w.rights, ',')) AS one) AS wanted
 WHERE to_regclass(wanted.name) IS NULL OR NOT has_table_privilege(to_regclass(wanted.name), wanted.one)
 GROUP BY wanted.name ORDER BY wanted.name
"""
_UNGUARDED = """
SELECT name FROM unnest(%s::text[]) AS name
 WHERE NOT EXISTS (SELECT FROM pg_trigger
                    WHERE tgrelid = to_regclass(name) AND tgname = name || '_append_only' AND tgenabled = 'A')
"""


def look(here: Circumstances) -> Iterator[Finding]:
    """Tell how the database is, from the first thing that is wrong on."""
    if here.dsn is None and not here.embedded:
        raise CannotLook("DATABASE_URL is faulty", "keyledger config check")
    if here.dsn is None:
        raise CannotLook(
            "the embedded server does not run; a start of the service starts it", "keyledger database start"
        )
    try:
        with connect(here.dsn) as connection, unavailable():
            yield from _of_server(connection)
            yield from _of_schema(connection)
    except ServiceError:
        said = "does not answer, or does not let this role in: server, password, name of the database and role"
        yield fault(SUBJECT, f"{said} are those of DATABASE_URL", "keyledger config check")


def _of_server(connection: Connection) -> Iterator[Finding]:
    major = connection.info.server_version // 10_000
    if major < OLDEST:
        yield fault(SUBJECT, f"is PostgreSQL {major}; at least {OLDEST} is needed", None)
    else:
        yield ok(SUBJECT, f"answers, PostgreSQL {major}")


def _of_schema(connection: Connection) -> Iterator[Finding]:
    version = version_of(connection)
    if version < len(STEPS):
        said = f"the schema is at version {version} of {len(STEPS)}; a start as its owner brings it there"
        yield warning(SUBJECT, said, "keyledger serve")
        return
    if version > len(STEPS):
        said = f"the schema is at version {version}, of a newer program than this one, which knows {len(STEPS)}"
        yield fault(SUBJECT, said, "keyledger --version")
    missing = connection.execute(_MISSING, [[name for name, _ in RIGHTS], [rights for _, rights in RIGHTS]]).fetchall()
    if missing:
        told = listed([f"{' and '.join(row['rights'])} on {row['table']}" for row in missing])
        yield fault(SUBJECT, f"the role lacks rights: {told}", "psql with grants.sql, as docs/operations.md has it")
    else:
        yield ok(SUBJECT, "the role has the rights that the service needs")
    unguarded = [row["name"] for row in connection.execute(_UNGUARDED, [list(GUARDED)]).fetchall()]
    if unguarded:
        said = f"the trigger that refuses changes is missing or off on {listed(unguarded)}"
        yield fault(SUBJECT, said, "keyledger verify")
    else:
        yield ok(SUBJECT, "the log refuses changes")
