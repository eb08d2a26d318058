"""Ends the credentials of a tenant who is erased.

Promises: when `end` returns, no credential of the tenant serves a call. Each deletion is an event of its own.
"""

from contextlib import suppress

from psycopg_pool import ConnectionPool

from domain.credentials.command_batch import CredentialCommands
from domain.credentials.commands import DeleteCredential
from domain.credentials.secret import Sealer
from domain.errors import CredentialNotFoundError
from domain.event import Clock, CommandMeta
from domain.event_log import EventLog
from projections.current_credentials import PostgresCurrentCredentials
from projections.database.connections import BoundedConnection, unavailable

_LIVE = "SELECT tenant_id::text, provider FROM current_credentials WHERE token IS NOT NULL ORDER BY 1, 2"


class TenantCredentials:
    """The live credentials of all tenants."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], log: EventLog, sealer: Sealer, clock: Clock) -> None:
        self._pool = pool
        self._commands = CredentialCommands(log, PostgresCurrentCredentials(pool), sealer, clock)

    def tenants(self) -> frozenset[str]:
        """Return the ids of tenants with live credentials. Raises StoreUnavailableError."""
        return frozenset(tenant_id for tenant_id, _ in self._live())

    def end(self, tenant_id: str, meta: CommandMeta) -> int:
        """Delete the credentials of a tenant and return how many there were. Raises StoreUnavailableError."""
        ended = 0
        for tenant, provider in self._live():
            if tenant == tenant_id:
                with suppress(CredentialNotFoundError):  # it was deleted meanwhile
                    self._commands.handle(DeleteCredential(tenant_id, provider, meta))
                    ended += 1
        return ended

    def _live(self) -> list[tuple[str, str]]:
        with unavailable(), self._pool.connection() as connection:
            return [(row["tenant_id"], row["provider"]) for row in connection.execute(_LIVE)]
