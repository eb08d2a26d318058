"""Adds counts up in the database, each addition once.

Promises: when the answer to a commit was lost, its outcome is looked up by transaction id (PostgreSQL's
`pg_xact_status`), never guessed.
"""

from collections.abc import Sequence

from psycopg import errors
from psycopg_pool import ConnectionPool

from domain.errors import StoreUnavailableError
from projections.database.connections import BoundedConnection, unavailable

BATCH = 5000
"""Records for one statement: some tens of milliseconds, far inside the deadline of a request."""

_BEGUN = "SELECT pg_current_xact_id()::text AS transaction"
_BECAME = "SELECT pg_xact_status(%s::xid8) AS became"


def add_once(pool: ConnectionPool[BoundedConnection], statement: str, rows: Sequence[Sequence[object]]) -> str | None:
    """Execute a statement that takes the columns of `rows`, for all of them or none.

    Return None once that is done; the transaction when its outcome is unknown and `was_added` has to be asked. Raises
    StoreUnavailableError when nothing was added.
    """
    transaction: str | None = None
    try:
        with unavailable(), pool.connection() as connection, connection.transaction():
            begun = connection.execute(_BEGUN).fetchone()
            transaction = begun["transaction"] if begun else None
            connection.execute(statement.encode(), [list(column) for column in zip(*rows, strict=True)])
    except StoreUnavailableError:
        if transaction is None:
            raise
        return transaction
    return None


def was_added(pool: ConnectionPool[BoundedConnection], transaction: str) -> bool:
    """Say whether an addition took effect. Raises StoreUnavailableError while that is undecided."""
    with unavailable(), pool.connection() as connection:
        try:
            row = connection.execute(_BECAME, [transaction]).fetchone()
        except errors.InvalidParameterValue:
            return False  # this server took over before the transaction reached it
    became = row["became"] if row else None
    if became == "in progress":
        raise StoreUnavailableError
    return bool(became != "aborted")
