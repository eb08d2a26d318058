"""The table `event_forms`: which forms of events the log may hold.

Promises: a form that is recorded stays recorded; its row is there before the first event of that form.
"""

from domain.events.event_definition import FIRST_FORM
from projections.database.connections import Connection


def newest_form(connection: Connection) -> tuple[int, str]:
    """Return the newest form that the log may hold, and the release that began to write it, "" for the first one."""
    row = connection.execute("SELECT form, release FROM event_forms ORDER BY form DESC LIMIT 1").fetchone()
    return (row["form"], row["release"]) if row else (FIRST_FORM, "")


def record_form(connection: Connection, form: int, release: str) -> None:
    """Record, in the caller's transaction, that the log may hold a form. release: of this program."""
    statement = "INSERT INTO event_forms (form, release) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    connection.execute(statement, [form, release])
