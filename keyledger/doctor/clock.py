"""The clocks of this machine and the database, and the times of the last events, which several machines recorded."""

from collections.abc import Iterator
from datetime import timedelta

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, ok, warning
from projections.database.connections import unavailable

SUBJECT = "clock"
APART = timedelta(seconds=2)
"""How far two clocks may be apart before histories become misleading."""
LOOKED_AT = 10_000
"""How many of the last events have their times compared."""

# Times that go back, between neighbours: a wrong clock shows in each event that its machine writes.
_BACKWARDS = """
SELECT count(*) AS events, max(position) AS last
  FROM (SELECT position, recorded_at, lag(recorded_at) OVER (ORDER BY position) AS before
          FROM (SELECT position, recorded_at FROM audit_trail ORDER BY position DESC LIMIT %s) AS newest) AS told
 WHERE recorded_at < before - %s
"""


def look(here: Circumstances) -> Iterator[Finding]:
    """Report how far apart the clocks are, and whether the times of the log go back."""
    with unavailable(), here.pool().connection() as connection:
        asked = here.clock()
        row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
        answered = here.clock()
        backwards = connection.execute(_BACKWARDS, [LOOKED_AT, APART]).fetchone()
    assert row is not None and backwards is not None  # noqa: S101  each statement gives one row
    apart = max(asked - row["now"], row["now"] - answered, timedelta(0))
    if apart > APART:
        said = f"the clocks of this machine and the database are {apart.total_seconds():.0f} s apart"
        yield warning(SUBJECT, f"{said}, so times in histories are wrong", "timedatectl")
    else:
        yield ok(
            SUBJECT,
            f"the clocks of this machine and the database agree within {APART.total_seconds():.0f} s",
        )
    if backwards["events"]:
        said = f"{backwards['events']} of the last events are earlier than the event before them; the last at position"
        yield warning(SUBJECT, f"{said} {backwards['last']}", f"keyledger audit show {backwards['last']}")
    else:
        yield ok(SUBJECT, "the times of the last events are in order")
