"""`projections list`: shows the state of the projections, without a service and without any key.

Promises: read-only; DATABASE_URL and DATA_DIR are the only settings read.
"""

from dataclasses import asdict
from pathlib import Path

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table


def list_projections(as_json: JsonOption = False, wide: WideOption = False) -> None:
    """List all projections. Shows their lag behind the log and what stops them."""
    from keyledger.assembly.open_ledger import Purpose, open_ledger
    from keyledger.settings.settings import load_database
    from projections.database.connections import connect, unavailable
    from projections.replay.status import projection_statuses

    database = load_database(OF_THIS_PROCESS, Path(".env"))
    with open_ledger(database, Purpose.READ) as ledger, connect(ledger.dsn) as connection, unavailable():
        found = projection_statuses(connection)
    if as_json:
        print_json(
            [
                asdict(one) | {"lag": one.lag, "state": "stopped" if one.stopped else "live", "reason": one.stopped}
                for one in found
            ]
        )
        return
    rows = [
        (one.name, str(one.position), str(one.head), str(one.lag), f"{one.rows:,}", one.stopped or "live")
        for one in found
    ]
    print_table(Table(("projection", "position", "head", "lag", "rows", "state"), rows), wide=wide)
