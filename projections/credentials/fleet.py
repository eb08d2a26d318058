"""The tenants that the log says something about, and the places where they have or had credentials, in order.

Promises: the cost of a page depends on what it looks at, not on the size of the fleet: every statement walks an index
from its cursor. What is stored at a place is read by the statement behind a tenant's own list. A credential whose row
was removed is still found, by its first entry in the audit trail; only a search by encryption key misses it, because
the key id is in that row alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.credentials.fleet import CredentialPlace, FleetFilter, Lodged
from projections.credentials.tenant_credentials import lodged_at
from projections.database.connections import BoundedConnection, unavailable

_FIRST_ENTRY = sql.SQL("version = 1 AND action = 'set'")
_SEEN_LAST = sql.SQL("(tenant_id, provider) > (%(last_tenant)s, %(last_provider)s)")
_BEFORE_ALL = CredentialPlace("00000000-0000-0000-0000-000000000000", "")

_PLACES = sql.SQL("""
SELECT tenant_id::text, provider FROM (
    (SELECT tenant_id, provider FROM current_credentials WHERE {of_rows} ORDER BY tenant_id, provider LIMIT %(limit)s)
    UNION
    (SELECT tenant_id, provider FROM audit_trail WHERE {of_entries} ORDER BY tenant_id, provider LIMIT %(limit)s)
) AS place ORDER BY place.tenant_id, place.provider LIMIT %(limit)s
""")

# One step in each of three indexes per tenant: PostgreSQL has no plan that skips from one value to the next.
_NEXT_TENANT = sql.SQL("""
    least((SELECT t.tenant_id FROM tenants AS t WHERE t.tenant_id {beyond} ORDER BY t.tenant_id LIMIT 1),
          (SELECT c.tenant_id FROM current_credentials AS c WHERE c.tenant_id {beyond} ORDER BY c.tenant_id LIMIT 1),
          (SELECT a.tenant_id FROM audit_trail AS a
            WHERE {first} AND a.tenant_id {beyond} ORDER BY a.tenant_id LIMIT 1))
""")
_TENANTS = sql.SQL("""
WITH RECURSIVE tenant (tenant_id, nth) AS (
    SELECT {first_tenant}, 1
    UNION ALL
    SELECT {next_tenant}, tenant.nth + 1 FROM tenant WHERE tenant.tenant_id IS NOT NULL AND tenant.nth < %(limit)s
)
SELECT tenant.tenant_id::text, place.provider
  FROM tenant
  LEFT JOIN LATERAL (SELECT provider FROM current_credentials AS c WHERE c.tenant_id = tenant.tenant_id
                     UNION
                     SELECT provider FROM audit_trail AS a
                      WHERE {first} AND a.tenant_id = tenant.tenant_id) AS place ON true
 WHERE tenant.tenant_id IS NOT NULL
 ORDER BY tenant.tenant_id, place.provider
""")


class PostgresFleet:
    """Implements `domain.credentials.fleet.FleetProjection`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool

    def places(self, wanted: FleetFilter, after: CredentialPlace | None, limit: int) -> Sequence[CredentialPlace]:
        """Return the next places of a tenant, of a provider, or under an encryption key.

        Raises StoreUnavailableError.
        """
        last = after or _BEFORE_ALL
        named = {"tenant_id": wanted.tenant_id, "provider": wanted.provider}
        tests = [_SEEN_LAST, *(_equals(name) for name, value in named.items() if value is not None)]
        by_key = wanted.key_id is not None
        statement = _PLACES.format(
            of_rows=_all_of(*tests, *([sql.SQL("token IS NOT NULL"), _equals("key_id")] if by_key else [])),
            of_entries=_all_of(*tests, _FIRST_ENTRY, *([sql.SQL("false")] if by_key else [])),
        )
        values = {**named, "key_id": wanted.key_id, "last_tenant": last.tenant_id, "last_provider": last.provider}
        return [CredentialPlace(*row) for row in self._read(statement, {**values, "limit": limit})]

    def of_tenants(self, after: str | None, limit: int) -> Mapping[str, Sequence[CredentialPlace]]:
        """Return the next tenants in order, each with all its places, if it has any. Raises StoreUnavailableError."""
        from_here = sql.SQL("> %(after)s::uuid" if after is not None else "IS NOT NULL")
        beyond = sql.SQL("> tenant.tenant_id")
        statement = _TENANTS.format(
            first=_FIRST_ENTRY,
            first_tenant=_NEXT_TENANT.format(beyond=from_here, first=_FIRST_ENTRY),
            next_tenant=_NEXT_TENANT.format(beyond=beyond, first=_FIRST_ENTRY),
        )
        found: dict[str, list[CredentialPlace]] = {}
        for tenant_id, provider in self._read(statement, {"after": after, "limit": limit}):
            found.setdefault(tenant_id, []).extend([CredentialPlace(tenant_id, provider)] if provider else [])
        return found

    def lodged(self, places: Sequence[CredentialPlace]) -> Sequence[Lodged]:
        """Return what is stored at places, in their order. Raises StoreUnavailableError, CredentialIntegrityError."""
        with unavailable(), self._pool.connection() as connection:
            return lodged_at(connection, places)

    def _read(self, statement: sql.Composed, values: dict[str, object]) -> Sequence[tuple[Any, ...]]:
        with unavailable(), self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(statement, values).fetchall()


def _equals(column: str) -> sql.Composable:
    return sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder(column))


def _all_of(*tests: sql.Composable) -> sql.Composable:
    return sql.SQL(" AND ").join(tests)
