"""Compares a live projection with a copy, row by row. Differences are named by tenant and provider, never by content.

Promises: the comparison sees the caller's snapshot, and reads it once if nothing differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from domain.operations.replay import Difference
from projections.database.connections import Connection

SHOWN_DIFFERENCES = 20

_SAME = "SELECT NOT EXISTS (SELECT 1 FROM {live} AS l FULL JOIN {copy} AS c USING ({key}) WHERE {differs}) AS same"
_DIFFERENT = """
SELECT {tenant} AS tenant_id, {provider} AS provider, {position} AS position,
       CASE WHEN {no_live} THEN 'missing' WHEN {no_copy} THEN 'unexpected' ELSE 'changed' END AS what,
       count(*) OVER () AS n
  FROM {live} AS l FULL JOIN {copy} AS c USING ({key})
 WHERE {differs}
 ORDER BY tenant_id, provider, position LIMIT {limit}
"""


@dataclass(frozen=True, slots=True)
class Naming:
    """How a difference is named: SQL expressions over the live row `l`, the copied row `c` and their key columns."""

    tenant: LiteralString = "coalesce(l.tenant_id, c.tenant_id)"
    provider: LiteralString = "coalesce(l.provider, c.provider)"
    position: LiteralString = "NULL::bigint"


BY_CREDENTIAL = Naming()


def differences(
    connection: Connection, live: str, copy: str, key: Sequence[str], columns: Sequence[str], naming: Naming
) -> tuple[int, tuple[Difference, ...]]:
    """Return how many rows differ, and the first `SHOWN_DIFFERENCES` of them."""
    parts = {
        "live": sql.Identifier(live),
        "copy": sql.Identifier(copy),
        "key": sql.SQL(", ").join(map(sql.Identifier, key)),
        "differs": sql.SQL("({}) IS DISTINCT FROM ({})").format(_listed("l", columns), _listed("c", columns)),
        "no_live": sql.SQL("{} IS NULL").format(sql.Identifier("l", key[0])),
        "no_copy": sql.SQL("{} IS NULL").format(sql.Identifier("c", key[0])),
        "tenant": sql.SQL(naming.tenant),
        "provider": sql.SQL(naming.provider),
        "position": sql.SQL(naming.position),
        "limit": sql.Literal(SHOWN_DIFFERENCES),
    }
    same = connection.execute(sql.SQL(_SAME).format(**parts)).fetchone()
    if same and same["same"]:
        return 0, ()
    rows = connection.execute(sql.SQL(_DIFFERENT).format(**parts)).fetchall()
    shown = (Difference(row["what"], _text(row["tenant_id"]), row["provider"], row["position"]) for row in rows)
    return rows[0]["n"] if rows else 0, tuple(shown)


def _listed(table: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, column) for column in columns)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
