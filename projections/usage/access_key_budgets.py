"""The budgets of access keys in the database: what each node has used, and the block that it holds.

Promises: writers of one budget take turns, so what all nodes have used and hold is never more than the budget, but for
what calls used beyond what they had reserved. A write states the whole part of a node, so it may be repeated after its
answer was lost. A block that its node does not ask for again lapses after `HELD_S`; what the node had written as used
stays used.
"""

from decimal import Decimal
from uuid import UUID, uuid4

from psycopg_pool import ConnectionPool

from domain.access.budgets import HELD_S, BudgetPlace, Granted
from domain.errors import StoreUnavailableError
from projections.database.connections import BoundedConnection, unavailable

_NO_NODE = UUID(int=0)
_TURN = """
INSERT INTO access_key_budgets (access_key, kind, begins, unit, node, spent, held, held_until)
VALUES (%(access_key)s, %(kind)s, %(begins)s, %(unit)s, %(no_node)s, 0, 0, '-infinity')
    ON CONFLICT (access_key, kind, begins, unit, node) DO UPDATE SET held = 0
"""
_SETTLE = """
WITH others AS (
    SELECT coalesce(sum(spent), 0) AS spent,
           coalesce(sum(held) FILTER (WHERE held_until > clock_timestamp()), 0) AS held
      FROM access_key_budgets
     WHERE access_key = %(access_key)s AND kind = %(kind)s AND begins = %(begins)s AND unit = %(unit)s
       AND node <> %(node)s
)
INSERT INTO access_key_budgets AS known (access_key, kind, begins, unit, node, spent, held, held_until)
SELECT %(access_key)s, %(kind)s, %(begins)s, %(unit)s, %(node)s, %(spent)s,
       greatest(0, least(%(wanted)s, %(limit)s - others.spent - others.held - %(spent)s)),
       clock_timestamp() + make_interval(secs => %(seconds)s)
  FROM others
    ON CONFLICT (access_key, kind, begins, unit, node) DO UPDATE SET
       spent = greatest(known.spent, excluded.spent), held = excluded.held, held_until = excluded.held_until
RETURNING held, (SELECT spent FROM others) AS others_spent, (SELECT held FROM others) AS others_held
"""


class PostgresBudgetBlocks:
    """Implements `domain.access.budgets.BudgetBlocks` for one node, which is this object."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool
        self._node = uuid4()

    def settle(self, place: BudgetPlace, limit: Decimal, spent: Decimal, wanted: Decimal) -> Granted:
        """Store what this node has used, and hold what it wants, as far as the budget has it."""
        of_place = {**place._asdict(), "kind": place.kind.value, "no_node": _NO_NODE, "node": self._node}
        asked = {**of_place, "limit": limit, "spent": spent, "wanted": wanted, "seconds": HELD_S}
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            connection.execute(_TURN, of_place)
            row = connection.execute(_SETTLE, asked).fetchone()
        if row is None:
            raise StoreUnavailableError
        return Granted(row["held"], row["others_spent"] + row["others_held"], row["others_spent"])
