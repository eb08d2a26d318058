"""The projection of tenants: which of them the log says something about, and the newest event of each.

Promises: rows are written in the transaction of their events, so the projection is never behind the log. Every read
also reads the head of the tenant's stream, in the same statement and snapshot, so a row that was changed, removed
or put back is detected by `domain.tenants.stored`. Rows hold no name; names are read from the log, with the keys of
members.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.audit.personal_members import disclosures_of
from domain.events.event_code import LogRow
from domain.events.personal import Disclosing, is_sealed
from domain.tenants.stored import TenantReader, TenantRow
from domain.tenants.tenant import Profile, Tenant, TenantEvent, TenantRegistered, evolve, profile_of, tenant_stream
from projections.database.combined_reads import CombinedReads, Sends
from projections.database.connections import BoundedConnection, unavailable
from projections.database.numbered import Statement, text_array
from projections.database.pipeline import Rows
from projections.inline import Columns, InlineProjection

TABLE = "tenants"
COLUMNS = ("tenant_id", "version", "frozen", "registered")

TENANT_COLUMNS: LiteralString = (
    "t.version, t.frozen, t.registered, th.notification_id, th.originator_version, th.topic, th.state,"
    " th.code_key_id, th.code"
)
"""The columns of a tenant's row and of the head of its stream, for `tenant_row`."""
TENANT_JOINS: LiteralString = """
  LEFT JOIN LATERAL (SELECT * FROM tenants AS one WHERE one.tenant_id = wanted.tenant_id LIMIT 1) AS t ON true
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = wanted.tenant_stream ORDER BY originator_version DESC LIMIT 1) AS th ON true
"""
"""The joins that find them for `wanted.tenant_id` and `wanted.tenant_stream`."""
TENANT_WIDTH = 9
"""The number of `TENANT_COLUMNS`."""

_READ: LiteralString = (
    f"SELECT {TENANT_COLUMNS} FROM unnest(%s::uuid[], %s::uuid[]) WITH ORDINALITY"  # noqa: S608  ours
    f" AS wanted (tenant_id, tenant_stream, nth) {TENANT_JOINS} ORDER BY wanted.nth"
)
_ROWS = Statement("tenants", _READ)
_PROFILES = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.code_key_id, e.code
  FROM unnest(%s::uuid[]) AS wanted (stream)
 CROSS JOIN LATERAL (SELECT * FROM keyledger_events AS one
                      WHERE one.originator_id = wanted.stream AND one.topic = 'TenantRegistered'
                      ORDER BY one.originator_version DESC LIMIT 1) AS e
"""


def project(event: TenantEvent) -> Columns:
    """Return the row that shows a tenant after `event`, by column."""
    tenant = evolve(event)
    return {
        "tenant_id": tenant.tenant_id,
        "version": tenant.version,
        "frozen": tenant.frozen_at is not None,
        "registered": tenant.registered,
    }


TENANTS = InlineProjection(TABLE, {"tenant_id": "uuid"}, COLUMNS, TenantEvent, project)


_UNKNOWN = TenantRow()


def tenant_row(tenant_id: str, columns: Sequence[Any]) -> TenantRow:
    """Return what `TENANT_COLUMNS` say of a tenant."""
    version, frozen, registered, position, *newest = columns
    if version is None and position is None:
        return _UNKNOWN
    head = None if position is None else LogRow(position, tenant_stream(tenant_id), *newest)
    return TenantRow(version, frozen, registered, head)


class PostgresTenants:
    """Reads for administrators' requests. Implements `domain.access.tenants.TenantList`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], reader: TenantReader, people: Disclosing) -> None:
        """people: opens names and labels."""
        self._pool = pool
        self._reader = reader
        self._people = people

    def tenants(self, tenant_ids: Sequence[str]) -> Sequence[Tenant]:
        """Return the state of each tenant. Raises StoreUnavailableError, CredentialIntegrityError."""
        rows = read_tenants(self._pool, tenant_ids)
        return [self._reader.tenant_of(one, row) for one, row in zip(tenant_ids, rows, strict=True)]

    def profiles(self, tenant_ids: Sequence[str]) -> Mapping[str, Profile]:
        """Return the newest profile of each tenant that has one. Raises as `tenants` does."""
        rows = _rows(self._pool, _PROFILES, [[tenant_stream(one) for one in tenant_ids]])
        events = [self._reader.event_of(LogRow._make(row)) for row in rows]
        registered = [event for event in events if isinstance(event, TenantRegistered)]
        found = zip(registered, self._opened(registered), strict=True)
        return {event.tenant_id: profile for event, profile in found if profile is not None}

    def profile_in(self, event: TenantRegistered) -> Profile | None:
        """Return the profile in a stored event. Raises as `tenants` does."""
        return self._opened([event])[0]

    def _opened(self, events: Sequence[TenantRegistered]) -> Sequence[Profile | None]:
        opened = disclosures_of(events, self._people)
        return [
            _profile(event, {name: one.value for name, one in found.items()})
            for event, found in zip(events, opened, strict=True)
        ]


def read_tenants(pool: ConnectionPool[BoundedConnection], tenant_ids: Sequence[str]) -> Sequence[TenantRow]:
    """Return the row of each tenant and the head of its stream. Raises StoreUnavailableError."""
    rows = _rows(pool, _READ, _of(tenant_ids))
    return [tenant_row(one, row) for one, row in zip(tenant_ids, rows, strict=True)]


def _rows(
    pool: ConnectionPool[BoundedConnection], statement: LiteralString, wanted: Sequence[object]
) -> list[tuple[Any, ...]]:
    with unavailable(), pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement, wanted).fetchall()


class PostgresTenantRows:
    """Reads for the event loop: the rules for a tenant. Reads that arrive together share a statement."""

    def __init__(self, pipeline: Sends, require_current: Callable[[], None] = lambda: None) -> None:
        """require_current: called after each read; raises StoreUnavailableError if it may not be relied on."""
        self._require_current = require_current
        self._reads = CombinedReads(pipeline, _ask, self._found)

    async def read(self, tenant_id: str) -> TenantRow:
        """Return the row of a tenant and the head of its stream. Raises StoreUnavailableError."""
        return await self._reads.read(tenant_id)

    def _found(self, tenant_ids: Sequence[str], rows: Rows) -> Sequence[TenantRow]:
        self._require_current()
        return [tenant_row(one, row) for one, row in zip(tenant_ids, rows, strict=True)]


def _ask(tenant_ids: Sequence[str]) -> tuple[Statement, Sequence[bytes]]:
    return _ROWS, [text_array(tenant_ids).encode(), text_array(str(tenant_stream(one)) for one in tenant_ids).encode()]


def _of(tenant_ids: Sequence[str]) -> list[list[str] | list[UUID]]:
    return [list(tenant_ids), [tenant_stream(one) for one in tenant_ids]]


def _profile(event: TenantRegistered, opened: Mapping[str, str]) -> Profile | None:
    """Return the profile of an event with its opened members; a member that was stored in clear needs no opening."""
    sealed = {name for name in ("tenant_name", "labels") if (text := getattr(event, name)) and is_sealed(text)}
    if not sealed <= opened.keys():
        return None
    return profile_of(opened.get("tenant_name", event.tenant_name), opened.get("labels", event.labels))
