"""The view that calls are resolved from: what is in effect now, one row for each credential.

Promises: rows are written in the transaction of their events, so the view is never behind; every read also reads the
head of the stream, in the same statement and snapshot, so that a row somebody changed, removed or put back is noticed.
A deleted credential keeps its row, without a token.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from domain.credentials.acceptance import CredentialRejected, acceptance_stream
from domain.credentials.credential import Credential, CredentialDeleted, CredentialEvent, evolve, stream_id
from domain.credentials.fleet import CredentialPlace, Lodged
from domain.credentials.providers import BUILT_IN, CredentialConfig, Providers
from domain.credentials.secret import SealedSecret
from domain.credentials.stored import Head, Stored
from domain.event import Event
from domain.event_codec import decode
from projections.database.combined_reads import CombinedReads
from projections.database.connections import BoundedAsyncConnection, BoundedConnection, Connection, Row, unavailable

COLUMNS = (
    "tenant_id",
    "provider",
    "version",
    "token",
    "binding",
    "key_id",
    "masked_key",
    "endpoint",
    "api_version",
    "deployment_name",
    "set_at",
    "stream_id",
)

# Several at once, one for one in the order that was asked; without what a call does not need.
_READ_MANY = """
SELECT c.version, c.token, c.binding, c.key_id, c.masked_key, c.endpoint, c.api_version, c.deployment_name, c.set_at,
       c.tenant_id IS NOT NULL, h.originator_version, h.topic
  FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) WITH ORDINALITY AS wanted (tenant_id, provider, stream, nth)
  LEFT JOIN LATERAL (SELECT * FROM current_credentials AS one
                      WHERE one.tenant_id = wanted.tenant_id AND one.provider = wanted.provider LIMIT 1) AS c ON true
  LEFT JOIN LATERAL (SELECT originator_version, topic FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h ON true
 ORDER BY wanted.nth
"""
_READ_ONE = """
SELECT c.version, c.token, c.binding, c.key_id, c.masked_key, c.endpoint, c.api_version, c.deployment_name, c.set_at,
       c.tenant_id IS NOT NULL, h.originator_version, h.topic
  FROM (SELECT) AS always
  LEFT JOIN (SELECT * FROM current_credentials WHERE tenant_id = %s AND provider = %s) AS c ON true
  LEFT JOIN (SELECT originator_version, topic FROM keyledger_events
              WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1) AS h ON true
"""

# For administrators only: what a call is resolved from does not ask what the provider said last, and when. A use of an
# earlier version is one of the same key when all that happened since it was set was sealing it anew. `whole`: tenants
# whose other credentials are read, too: those for none of the providers `names`, which an operator took away.
_OF_TENANTS = """
SELECT c.*, h.originator_version AS head_version, h.topic AS head_topic, wanted.stream,
       wanted.of_tenant, wanted.provider AS of_provider,
       CASE WHEN c.token IS NULL THEN h.state END AS recorded,
       CASE WHEN u.version >= coalesce(k.version, h.originator_version) THEN u.last_used_at END AS last_used_at,
       CASE WHEN h.originator_version = (convert_from(a.state, 'UTF8')::jsonb ->> 'credential_version')::bigint
            THEN a.topic END AS answered
  FROM (SELECT *
          FROM unnest(%(tenants)s::uuid[], %(providers)s::text[], %(streams)s::uuid[], %(acceptances)s::uuid[])
               AS known (of_tenant, provider, stream, acceptance)
         UNION ALL
        SELECT one.tenant_id, one.provider, one.stream_id, NULL FROM current_credentials AS one
         WHERE one.tenant_id = ANY (%(whole)s::uuid[]) AND one.provider <> ALL (%(names)s::text[])) AS wanted
  LEFT JOIN LATERAL (SELECT * FROM current_credentials AS one
                      WHERE one.tenant_id = wanted.of_tenant AND one.provider = wanted.provider LIMIT 1) AS c ON true
  LEFT JOIN LATERAL (SELECT originator_version, topic, state FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h ON true
  LEFT JOIN LATERAL (SELECT topic, state FROM keyledger_events
                      WHERE originator_id = wanted.acceptance ORDER BY originator_version DESC LIMIT 1) AS a ON true
  LEFT JOIN LATERAL (SELECT one.version, one.last_used_at FROM credential_usage AS one
                      WHERE h.topic IS NOT NULL AND one.tenant_id = wanted.of_tenant AND one.provider = wanted.provider
                      ORDER BY one.version DESC, one.hour DESC LIMIT 1) AS u ON true
  LEFT JOIN LATERAL (SELECT originator_version AS version FROM keyledger_events
                      WHERE u.version < h.originator_version
                        AND originator_id = wanted.stream AND topic = 'CredentialSet'
                      ORDER BY originator_version DESC LIMIT 1) AS k ON true
 WHERE c.tenant_id IS NOT NULL OR h.topic IS NOT NULL
 ORDER BY wanted.provider
"""


def project(event: CredentialEvent) -> dict[str, object]:
    """Return the row that shows a credential after `event`, by column."""
    state = evolve(event)
    sealed, config = state.sealed, state.config
    return {
        "tenant_id": state.tenant_id,
        "provider": state.provider,
        "version": state.version,
        "token": sealed.token if sealed else None,
        "binding": sealed.binding if sealed else None,
        "key_id": sealed.key_id if sealed else None,
        "masked_key": state.masked_key,
        "endpoint": config.endpoint,
        "api_version": config.api_version,
        "deployment_name": config.deployment_name,
        "set_at": state.set_at,
        "stream_id": event.originator_id,
    }


def last_of_each(events: Iterable[Event]) -> list[CredentialEvent]:
    """Return the last event of each credential among `events`, which are in the order of the log."""
    last = {event.originator_id: event for event in events if isinstance(event, CredentialEvent)}
    return list(last.values())


class PostgresCurrentCredentials:
    """The view for administrators' requests. Implements `domain.credentials.stored.CurrentCredentials`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], providers: Providers = BUILT_IN) -> None:
        self._pool = pool
        self._providers = providers

    def read(self, tenant_id: str, provider: str) -> Stored:
        """Return the row and the head of its stream. Raises StoreUnavailableError."""
        found = self._read({**_of_tenants([tenant_id], (provider,)), **_NO_OTHERS})
        return replace(found[0], recorded=None) if found else Stored(None, None)

    def read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        """Return rows and heads of their streams, one for each place. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(_READ_MANY, _of_places(places)).fetchall()
        return [_stored_at(place, row) for place, row in zip(places, rows, strict=True)]

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return the credentials of a tenant that are not deleted, by provider. Raises StoreUnavailableError."""
        return [
            stored
            for stored in self._read(_of_tenants([tenant_id], tuple(self._providers)))
            if stored.shown is not None
        ]

    def _read(self, wanted: Mapping[str, str]) -> list[Stored]:
        with unavailable(), self._pool.connection() as connection:
            rows = connection.execute(_OF_TENANTS, wanted).fetchall()
        return [_stored(row) for row in rows]


class PostgresResolutionView:
    """The view for the event loop. Implements `ResolutionView` and `TenantCredentials`.

    Calls that come while the database is being asked are answered together by the next statement, which begins after
    they came: many callers cost little more than one.
    """

    def __init__(self, pool: AsyncConnectionPool[BoundedAsyncConnection], providers: Providers = BUILT_IN) -> None:
        self._pool = pool
        self._providers = providers
        self._reads = CombinedReads(self._read_all)
        self._lists = CombinedReads(self._list_all)

    async def read(self, tenant_id: str, provider: str) -> Stored:
        """Return the row and the head of its stream. Raises StoreUnavailableError."""
        return await self._reads.read((tenant_id, provider))

    async def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return the credentials of a tenant that are not deleted, by provider. Raises StoreUnavailableError."""
        return await self._lists.read(tenant_id)

    async def _list_all(self, tenants: Sequence[str]) -> Sequence[Sequence[Stored]]:
        with unavailable():
            async with self._pool.connection() as connection:
                wanted = _of_tenants(sorted(set(tenants)), tuple(self._providers))
                cursor = await connection.execute(_OF_TENANTS, wanted)
                rows = await cursor.fetchall()
        of: dict[str, list[Row]] = {tenant_id: [] for tenant_id in tenants}
        for row in rows:
            of[str(row["of_tenant"])].append(row)
        return [_listed(of[tenant_id]) for tenant_id in tenants]

    async def _read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        if len(places) == 1:
            ((tenant_id, provider),) = places
            statement, wanted = _READ_ONE, [tenant_id, provider, stream_id(tenant_id, provider)]
        else:
            statement, wanted = _READ_MANY, _of_places(places)
        with unavailable():
            async with self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(statement, wanted)
                rows = await cursor.fetchall()
        return [_stored_at(place, row) for place, row in zip(places, rows, strict=True)]


def lodged_at(connection: Connection, places: Sequence[CredentialPlace]) -> list[Lodged]:
    """Return what a tenant's list is made from for each place, in their order, by the same statement.

    A place that neither the view nor the log knows is left out. Raises psycopg.Error, CredentialIntegrityError.
    """
    rows = connection.execute(_OF_TENANTS, _wanted(places)).fetchall()
    found = {CredentialPlace(str(row["of_tenant"]), row["of_provider"]): row for row in rows}
    return [Lodged(place, _stored(found[place]), _changed_at(found[place])) for place in places if place in found]


def _changed_at(row: Row) -> datetime | None:
    set_at: datetime | None = row["set_at"]
    if row["recorded"] is None:
        return set_at
    last = _recorded(row)
    return last.timestamp if isinstance(last, CredentialDeleted) else evolve(last).set_at


_UNDER_OTHER_KEYS = """
SELECT c.*, h.originator_version AS head_version, h.topic AS head_topic
  FROM (SELECT * FROM current_credentials
         WHERE token IS NOT NULL AND key_id <> %(primary)s AND (tenant_id, provider) > (%(tenant)s, %(provider)s)
         ORDER BY tenant_id, provider LIMIT %(limit)s) AS c
  LEFT JOIN LATERAL (SELECT originator_version, topic FROM keyledger_events
                      WHERE originator_id = c.stream_id ORDER BY originator_version DESC LIMIT 1) AS h ON true
 ORDER BY c.tenant_id, c.provider
"""
_BEFORE_ALL = ("00000000-0000-0000-0000-000000000000", "")


def read_under_other_keys(
    pool: ConnectionPool[BoundedConnection], primary_id: str, after: tuple[str, str] | None, limit: int
) -> list[Stored]:
    """Return live credentials that are not sealed under `primary_id`, by tenant and provider, each with its head.

    after: tenant and provider of the last one that was seen. Raises StoreUnavailableError.
    """
    tenant, provider = after or _BEFORE_ALL
    wanted = {"primary": primary_id, "tenant": tenant, "provider": provider, "limit": limit}
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(_UNDER_OTHER_KEYS, wanted, binary=True).fetchall()
    return [_stored_where_it_says(row) for row in rows]


def _stored_where_it_says(row: Row) -> Stored:
    """Return a row with the head of the stream it names, which counts only if it is the credential's own."""
    shown = _credential(row)
    own = row["stream_id"] == stream_id(shown.tenant_id, shown.provider)
    return Stored(shown, Head(row["head_version"], row["head_topic"]) if own and row["head_version"] else None)


_NO_OTHERS = {"whole": "{}", "names": "{}"}


def _of_places(places: Sequence[tuple[str, str]]) -> list[Any]:
    streams = [stream_id(tenant_id, provider) for tenant_id, provider in places]
    return [[tenant_id for tenant_id, _ in places], [provider for _, provider in places], streams]


def _wanted(places: Sequence[CredentialPlace]) -> Mapping[str, str]:
    return {
        "tenants": _array(tenant_id for tenant_id, _ in places),
        "providers": _array(provider for _, provider in places),
        "streams": _array(str(stream_id(*place)) for place in places),
        "acceptances": _array(str(acceptance_stream(*place)) for place in places),
        **_NO_OTHERS,
    }


def _of_tenants(tenants: Sequence[str], providers: tuple[str, ...]) -> Mapping[str, str]:
    """Return every provider of every tenant as arrays in PostgreSQL's notation.

    Ready-made, since the driver takes longer for arrays of hundreds of ids than the server for its answer.
    """
    streams = [_streams(tenant_id, providers) for tenant_id in tenants]
    return {
        "tenants": _array(tenant_id for tenant_id in tenants for _ in providers),
        "providers": _array(providers * len(tenants)),
        "streams": _array(credentials for credentials, _ in streams),
        "acceptances": _array(acceptances for _, acceptances in streams),
        "whole": _array(tenants),
        "names": _array(providers),
    }


@lru_cache(maxsize=2048)
def _streams(tenant_id: str, providers: tuple[str, ...]) -> tuple[str, str]:
    """Return the streams of a tenant's credentials, and those that tell whether providers take them."""
    return (
        ",".join(str(stream_id(tenant_id, provider)) for provider in providers),
        ",".join(str(acceptance_stream(tenant_id, provider)) for provider in providers),
    )


def _array(elements: Iterable[str]) -> str:
    return "{" + ",".join(elements) + "}"


def _listed(rows: Iterable[Row]) -> list[Stored]:
    found = [_stored(row) for row in rows]
    return [stored for stored in found if stored.shown is not None]


def _stored(row: Row) -> Stored:
    own = row["stream"] == stream_id(str(row["of_tenant"]), row["of_provider"])
    head = Head(row["head_version"], row["head_topic"]) if own and row["head_version"] is not None else None
    shown = _credential(row) if row["tenant_id"] is not None else None
    live = head is not None and head.topic != CredentialDeleted.TOPIC
    return Stored(
        shown,
        head,
        evolve(_recorded(row)) if live and row["recorded"] is not None else None,
        rejected=row["answered"] == CredentialRejected.TOPIC,
        answered=row["answered"] is not None,
        last_used_at=row["last_used_at"],
    )


def _recorded(row: Row) -> Event:
    return decode(row["stream"], row["head_version"], row["head_topic"], bytes(row["recorded"]))


def _stored_at(place: tuple[str, str], row: tuple[Any, ...]) -> Stored:
    """Return what a row of `_READ_ONE` or `_READ_MANY` says of a place."""
    version, token, binding, key_id, masked, endpoint, api_version, deployment, set_at, there, head, topic = row
    shown = None
    if there:
        sealed = SealedSecret(token, binding, key_id) if token is not None else None
        config = CredentialConfig(endpoint, api_version, deployment)
        shown = Credential(*place, version, sealed, masked, config, set_at)
    return Stored(shown, Head(head, topic) if head is not None else None)


def _credential(row: Row) -> Credential:
    sealed = SealedSecret(row["token"], row["binding"], row["key_id"]) if row["token"] is not None else None
    return Credential(
        str(row["tenant_id"]),
        row["provider"],
        row["version"],
        sealed,
        row["masked_key"],
        CredentialConfig(row["endpoint"], row["api_version"], row["deployment_name"]),
        row["set_at"],
    )
