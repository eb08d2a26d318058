"""Ends the credentials of a tenant who is erased.

Promises: when `end` returns, no credential of the tenant serves a call. Each deletion is an event of its own.
"""

from contextlib import suppress

from psycopg_pool import ConnectionPool

from domain.credentials.command_batch import CredentialCommands
from domain.credentials.commands import DeleteCredential
from domain.errors import CredentialNotFoundError
from domain.events.event import Clock, CommandMeta
from domain.events.event_log import PresumingLog
from keyledger.encryption.keyring import NoKeyring
from projections.credentials.current_credentials import PostgresCurrentCredentials
from projections.database.connections import BoundedConnection, unavailable

_TENANTS = "SELECT DISTINCT tenant_id::text FROM current_credentials WHERE token IS NOT NULL"
_PROVIDERS = """
SELECT provider FROM current_credentials WHERE tenant_id::text = %s AND token IS NOT NULL ORDER BY provider
"""


class TenantCredentials:
    """The live credentials of all tenants."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], log: PresumingLog, clock: Clock) -> None:
        self._pool = pool
        self._commands = CredentialCommands(log, PostgresCurrentCredentials(pool), NoKeyring(), clock)

    def tenants(self) -> frozenset[str]:
        """Return the ids of tenants with live credentials. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            return frozenset(row["tenant_id"] for row in connection.execute(_TENANTS))

    def providers(self, tenant_id: str) -> list[str]:
        """Return the providers for which a tenant has a live credential. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            return [row["provider"] for row in connection.execute(_PROVIDERS, [tenant_id])]

    def end(self, tenant_id: str, meta: CommandMeta) -> int:
        """Delete the credentials of a tenant and return how many there were. Raises StoreUnavailableError."""
        ended = 0
        for provider in self.providers(tenant_id):
            with suppress(CredentialNotFoundError):  # it was deleted meanwhile
                self._commands.handle(DeleteCredential(tenant_id, provider, meta, by_operator=True))
                ended += 1
        return ended
