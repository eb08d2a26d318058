"""Pages of the records of a table by the hour, in the order of their places.

Promises: pages neither shift nor overlap, because a record never changes its place. Each page is one statement.
"""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql
from psycopg_pool import ConnectionPool

from projections.database.connections import BoundedConnection, Row, unavailable


class Asked(NamedTuple):
    """The records of a page. tests: SQL with one place each, and its value; a test without a value is left out.

    after: the place of the record before the page, its hour first. limit: records at most.
    """

    tests: Sequence[tuple[str, object]]
    after: Sequence[object] | None
    limit: int


def page_of(pool: ConnectionPool[BoundedConnection], table: str, place: Sequence[str], asked: Asked) -> Sequence[Row]:
    """Return the rows of a page. place: the columns that identify a row, `hour` first.

    Raises StoreUnavailableError.
    """
    stated = [(test, [value]) for test, value in asked.tests if value is not None]
    if asked.after is not None:
        marks = ", ".join("%s::uuid" if column == "tenant_id" else "%s" for column in place)
        # The hour again on its own, because that is what the indexes cover.
        stated += [("hour >= %s", [asked.after[0]]), (f"({', '.join(place)}) > ({marks})", [*asked.after])]
    query = sql.SQL("SELECT * FROM {} WHERE {} ORDER BY {} LIMIT %s").format(
        sql.Identifier(table),
        sql.SQL(" AND ").join([sql.SQL("true"), *(sql.SQL(test) for test, _ in stated)]),
        sql.SQL(", ").join(sql.Identifier(column) for column in place),
    )
    with unavailable(), pool.connection() as connection:
        return connection.execute(query, [*(one for _, values in stated for one in values), asked.limit]).fetchall()
