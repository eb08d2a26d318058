"""What stands between us and the database: nothing, or a pooler, which decides who gets which session."""

from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, ok
from projections.postgres import unavailable

SUBJECT = "pooler"


def look(here: Circumstances) -> Iterator[Finding]:
    """Tell whether a connection is direct: a pooler gives a process number of its own making."""
    with unavailable(), here.pool().connection() as connection:
        row = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
        direct = row is not None and row["pid"] == connection.info.backend_pid
    yield ok(SUBJECT, "connections are direct" if direct else "a pooler is in between, and gives sessions as it likes")
