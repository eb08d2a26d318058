"""Locks on rows of `keyledger_locks`, each held by one transaction at a time, until it ends.

Promises: a role without the right to update the table can neither take a lock nor delay its holder. A lock holds
through a pooler, and is released when its holder dies. Holding one leaves no dead row.
Refuses: to continue without a row to lock, since two transactions would then work at once.
"""

from domain.errors import StoreUnavailableError
from projections.database.connections import Connection

LOG = "log"
"""The writer lock, which `keyledger_lock_log` takes."""
NODES = "nodes"
"""Held while a node chooses its encryption keys."""


def hold(connection: Connection, name: str) -> None:
    """Wait for a lock, and hold it until the caller's transaction ends.

    Raises StoreUnavailableError where its row is missing.
    """
    if not connection.execute("SELECT FROM keyledger_locks WHERE name = %s FOR UPDATE", [name]).rowcount:
        raise StoreUnavailableError("A row of keyledger_locks is missing. Have the owner apply the schema again.")


def try_to_hold(connection: Connection, name: str) -> bool:
    """Take a lock until the transaction ends. Return False if another transaction holds it, or there is no such row."""
    statement = "SELECT FROM keyledger_locks WHERE name = %s FOR UPDATE SKIP LOCKED"
    return bool(connection.execute(statement, [name]).rowcount)


def is_held(connection: Connection, name: str) -> bool:
    """Say whether a transaction holds a lock now."""
    known = connection.execute("SELECT FROM keyledger_locks WHERE name = %s", [name]).rowcount
    return bool(known) and not try_to_hold(connection, name)


def add(connection: Connection, name: str) -> None:
    """Make a lock that does not exist yet. Only the owner of the table may."""
    connection.execute("INSERT INTO keyledger_locks (name) VALUES (%s) ON CONFLICT DO NOTHING", [name])
