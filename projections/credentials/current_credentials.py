"""The projection that calls are resolved from: one row for each credential, as it is in effect now.

Promises: rows are written in the transaction of their events, so the projection is never behind the log. Every read
also reads the head of the stream, in the same statement and snapshot, so a row that was tampered with, removed or
restored is detected. A deleted credential keeps its row, without a token.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, LiteralString

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.credential import Credential, CredentialEvent, evolve, stream_id
from domain.credentials.providers import CredentialConfig, Providers
from domain.credentials.secret import SealedSecret
from domain.credentials.stored import CallRows, Head, Stored
from domain.events.event_code import LogRow
from domain.tenants.tenant import tenant_stream
from projections.access_keys import CALLER_COLUMNS, CALLER_JOINS, token_row
from projections.credentials.tenant_credentials import (
    NO_OTHERS,
    OF_TENANTS,
    credential_of,
    listed,
    of_tenants,
    stored_of,
)
from projections.database.combined_reads import CombinedReads
from projections.database.connections import BoundedConnection, Row, unavailable
from projections.database.numbered import Statement, text_array
from projections.database.pipeline import Rows
from projections.database.pipelines import Pipelines
from projections.inline import InlineProjection
from projections.tenants import TENANT_COLUMNS, TENANT_JOINS, TENANT_WIDTH, tenant_row

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

# One row for each place, in the order asked for, with only what a call needs.
_READ_MANY = """
SELECT c.version, c.token, c.binding, c.key_id, c.masked_key, c.endpoint, c.api_version, c.deployment_name, c.set_at,
       c.tenant_id IS NOT NULL, h.notification_id, h.originator_version, h.topic, h.state,
       h.code_key_id, h.code
  FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) WITH ORDINALITY AS wanted (tenant_id, provider, stream, nth)
  LEFT JOIN LATERAL (SELECT * FROM current_credentials AS one
                      WHERE one.tenant_id = wanted.tenant_id AND one.provider = wanted.provider LIMIT 1) AS c ON true
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h ON true
 ORDER BY wanted.nth
"""
# The same with the rules for the tenant, for a caller whose key is not in the log.
_CALL: LiteralString = f"""
SELECT c.version, c.token, c.binding, c.key_id, c.masked_key, c.endpoint, c.api_version, c.deployment_name, c.set_at,
       c.tenant_id IS NOT NULL, h.notification_id, h.originator_version, h.topic, h.state,
       h.code_key_id, h.code, {TENANT_COLUMNS}
  FROM (SELECT %s::uuid AS tenant_id, %s::text AS provider, %s::uuid AS stream, %s::uuid AS tenant_stream) AS wanted
  LEFT JOIN current_credentials AS c ON c.tenant_id = wanted.tenant_id AND c.provider = wanted.provider
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h ON true
{TENANT_JOINS}"""  # noqa: S608  ours

# The same for several calls, with what is known of the callers' tokens; none where the digest is NULL.
_CALLS: LiteralString = f"""
SELECT c.version, c.token, c.binding, c.key_id, c.masked_key, c.endpoint, c.api_version, c.deployment_name, c.set_at,
       c.tenant_id IS NOT NULL, h.notification_id, h.originator_version, h.topic, h.state,
       h.code_key_id, h.code, {TENANT_COLUMNS}, {CALLER_COLUMNS}
  FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::text[]) WITH ORDINALITY
       AS wanted (tenant_id, provider, stream, tenant_stream, digest, nth)
  LEFT JOIN LATERAL (SELECT * FROM current_credentials AS one
                      WHERE one.tenant_id = wanted.tenant_id AND one.provider = wanted.provider LIMIT 1) AS c ON true
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h ON true
{TENANT_JOINS}{CALLER_JOINS}
 ORDER BY wanted.nth
"""  # noqa: S608  ours

_ONE, _MANY = Statement("call", _CALL), Statement("calls", _CALLS)
_LISTS = Statement("lists", OF_TENANTS)
_Wanted = tuple[str, str, str | None]
"""Tenant, provider and the digest of the caller's token."""


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


CURRENT_CREDENTIALS = InlineProjection(
    "current_credentials", {"tenant_id": "uuid", "provider": "text"}, COLUMNS, CredentialEvent, project
)


class PostgresCurrentCredentials:
    """Reads for administrators' requests. Implements `domain.credentials.stored.CurrentCredentials`."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], providers: Providers = BUILT_IN) -> None:
        self._pool = pool
        self._providers = providers

    def read(self, tenant_id: str, provider: str) -> Stored:
        """Return the row and the head of its stream. Raises StoreUnavailableError."""
        rows = self._rows({**of_tenants([tenant_id], (provider,)), **NO_OTHERS})
        return replace(stored_of(rows[0]), recorded=None) if rows else Stored(None, None)

    def read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        """Return rows and heads of their streams, one for each place. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(_READ_MANY, _columns_of(places)).fetchall()
        return [_stored_at(place, row) for place, row in zip(places, rows, strict=True)]

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return the credentials of a tenant that are not deleted, by provider. Raises StoreUnavailableError."""
        return listed(self._rows(of_tenants([tenant_id], tuple(self._providers))))

    def _rows(self, wanted: Mapping[str, str]) -> list[Row]:
        with unavailable(), self._pool.connection() as connection:
            return connection.execute(OF_TENANTS, wanted).fetchall()


class PostgresResolutionProjection:
    """Reads for the event loop, in binary form. Implements `ResolutionProjection` and `TenantCredentials`.

    Reads that arrive while statements are under way share the next statement, which starts after they arrived, so many
    callers cost little more than one.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        providers: Providers = BUILT_IN,
        require_current: Callable[[], None] = lambda: None,
    ) -> None:
        """require_current: called after each read; raises StoreUnavailableError if it may not be relied on."""
        self._require_current = require_current
        self._providers = tuple(providers)
        self._reads = CombinedReads(pipelines.calls, _ask, self._found)
        self._lists = CombinedReads(pipelines.lists, self._ask_list, self._found_list)

    async def read(self, tenant_id: str, provider: str, digest: str | None = None) -> CallRows:
        """Return everything that decides a call. digest: of the caller's token. Raises StoreUnavailableError."""
        return await self._reads.read((tenant_id, provider, digest))

    async def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        """Return the credentials of a tenant that are not deleted, by provider. Raises StoreUnavailableError."""
        return await self._lists.read(tenant_id)

    def _found(self, wanted: Sequence[_Wanted], rows: Rows) -> Sequence[CallRows]:
        self._require_current()
        return [_call_rows(*one[:2], row) for one, row in zip(wanted, rows, strict=True)]

    def _ask_list(self, tenants: Sequence[str]) -> tuple[Statement, Sequence[bytes]]:
        return _LISTS, _LISTS.by_name(of_tenants(sorted(set(tenants)), self._providers))

    def _found_list(self, tenants: Sequence[str], rows: Rows) -> Sequence[Sequence[Stored]]:
        self._require_current()
        of: dict[str, list[Row]] = {tenant_id: [] for tenant_id in tenants}
        for row in rows.named():
            of[str(row["of_tenant"])].append(row)
        return [listed(of[tenant_id]) for tenant_id in tenants]


def _ask(wanted: Sequence[_Wanted]) -> tuple[Statement, Sequence[bytes]]:
    tenant_ids, providers, streams = _columns_of([(tenant_id, provider) for tenant_id, provider, _ in wanted])
    columns = [tenant_ids, providers, streams, [str(tenant_stream(one)) for one in tenant_ids]]
    digests = [digest or "NULL" for _, _, digest in wanted]
    if digests == ["NULL"]:
        return _ONE, [column[0].encode() for column in columns]
    return _MANY, [text_array(column).encode() for column in (*columns, digests)]


def _columns_of(places: Sequence[tuple[str, str]]) -> list[list[str]]:
    streams = [str(stream_id(tenant_id, provider)) for tenant_id, provider in places]
    return [[tenant_id for tenant_id, _ in places], [provider for _, provider in places], streams]


_FOLLOWING = """(SELECT * FROM current_credentials
          WHERE token IS NOT NULL AND key_id {} %(primary)s
            AND (key_id, tenant_id, provider) > (%(key)s, %(tenant)s, %(provider)s)
          ORDER BY key_id, tenant_id, provider LIMIT %(limit)s)"""
# Two ranges of an index: `<>` would look at every row when none is left.
_UNDER_OTHER_KEYS = f"""
SELECT c.*, h.notification_id, h.originator_id, h.originator_version, h.topic, h.state, h.code_key_id, h.code
  FROM ({_FOLLOWING.format("<")} UNION ALL {_FOLLOWING.format(">")}
         ORDER BY key_id, tenant_id, provider LIMIT %(limit)s) AS c
  LEFT JOIN LATERAL (SELECT * FROM keyledger_events
                      WHERE originator_id = c.stream_id ORDER BY originator_version DESC LIMIT 1) AS h ON true
 ORDER BY c.key_id, c.tenant_id, c.provider
"""  # noqa: S608  ours
_COUNT_UNDER_OTHER_KEYS = """
SELECT (SELECT count(*) FROM current_credentials WHERE token IS NOT NULL AND key_id < %(primary)s)
     + (SELECT count(*) FROM current_credentials WHERE token IS NOT NULL AND key_id > %(primary)s) AS n
"""
_LOG_ROW = ("notification_id", "originator_id", "originator_version", "topic", "state", "code_key_id", "code")
_BEFORE_ALL = ("", "00000000-0000-0000-0000-000000000000", "")


def read_under_other_keys(
    pool: ConnectionPool[BoundedConnection], primary_id: str, after: tuple[str, str, str] | None, limit: int
) -> list[Stored]:
    """Return live credentials that are not sealed under `primary_id`, by key, tenant and provider, with their heads.

    after: key id, tenant and provider of the last one that was seen. Raises StoreUnavailableError.
    """
    key_id, tenant, provider = after or _BEFORE_ALL
    wanted = {"primary": primary_id, "key": key_id, "tenant": tenant, "provider": provider, "limit": limit}
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(_UNDER_OTHER_KEYS, wanted, binary=True).fetchall()
    return [_stored_where_it_says(row) for row in rows]


def count_under_other_keys(pool: ConnectionPool[BoundedConnection], primary_id: str) -> int:
    """Return the number of live credentials that are not sealed under `primary_id`. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        row = connection.execute(_COUNT_UNDER_OTHER_KEYS, {"primary": primary_id}).fetchone()
    return row["n"] if row else 0


def _stored_where_it_says(row: Row) -> Stored:
    """Return a row with the head of the stream it names, which counts only if it is the credential's own."""
    shown = credential_of(row)
    own = row["stream_id"] == stream_id(shown.tenant_id, shown.provider)
    newest = LogRow._make(row[name] for name in _LOG_ROW)
    return Stored(shown, _head(newest) if own and row["originator_version"] is not None else None)


_CREDENTIAL_WIDTH = 16


def _call_rows(tenant_id: str, provider: str, row: tuple[Any, ...]) -> CallRows:
    """Return what a row of `_CALL` or `_CALLS` says."""
    of_tenant, of_caller = _CREDENTIAL_WIDTH, _CREDENTIAL_WIDTH + TENANT_WIDTH
    caller = row[of_caller:]
    return CallRows(
        _stored_at((tenant_id, provider), row[:of_tenant]),
        tenant_row(tenant_id, row[of_tenant:of_caller]),
        token_row(caller) if caller else None,
    )


def _stored_at(place: tuple[str, str], row: tuple[Any, ...]) -> Stored:
    """Return what a row of `_READ_MANY` says of a place."""
    version, token, binding, key_id, masked, endpoint, api_version, deployment, set_at, there, position, *newest = row
    shown = None
    if there:
        sealed = SealedSecret(token, binding, key_id) if token is not None else None
        config = CredentialConfig(endpoint, api_version, deployment)
        shown = Credential(*place, version, sealed, masked, config, set_at)
    return Stored(shown, None if position is None else _head(LogRow(position, stream_id(*place), *newest)))


def _head(row: LogRow) -> Head:
    return Head(row.version, row.topic, row)
