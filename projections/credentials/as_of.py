"""Reads the credentials that were in effect at a given time.

Promises: the state of a credential is its last event, in log order, whose time is not later. It comes from the log
alone, so a changed row of `current_credentials` has no effect on it.
Refuses: an event that no holder of the ledger's keys wrote; the error names its position.
Limits: use comes from hourly counts, which hold only the time of each hour's last call, so an earlier call within the
hour asked about may be missed. Readability is as of now: without its encryption key, a past secret cannot be opened.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.credentials.acceptance import AcceptanceEvent, CredentialRejected, acceptance_stream
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.credential import Credential, evolve, stream_id
from domain.credentials.providers import Providers
from domain.credentials.secret import Sealer
from domain.credentials.stored import CredentialStatus
from domain.errors import ServiceError
from domain.events.event import Event
from domain.events.event_code import NO_CODES, EventCodes, LogRow, require_code
from projections.catch_up import END, read_row
from projections.database.connections import BoundedConnection, Connection, unavailable

_PAGE = 100
_PROVIDERS = "SELECT provider FROM current_credentials WHERE tenant_id = %s"
_DOWN = """
SELECT notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_events
 WHERE originator_id = %s AND originator_version < %s ORDER BY originator_version DESC LIMIT %s
"""
_USED = """
SELECT max(last_used_at) AS last_used_at FROM credential_usage
 WHERE tenant_id = %s AND provider = %s AND version <= %s
   AND version >= (SELECT max(originator_version) FROM keyledger_events
                    WHERE originator_id = %s AND originator_version <= %s AND topic = 'CredentialSet')
   AND last_used_at <= %s
"""


class PostgresPastCredentials:
    """Implements `domain.credentials.stored.PastCredentials`."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        sealer: Sealer,
        providers: Providers = BUILT_IN,
        codes: Callable[[], EventCodes] = lambda: NO_CODES,
    ) -> None:
        """codes: check what is read."""
        self._pool = pool
        self._providers = providers
        self._sealer = sealer
        self._codes = codes

    def of_tenant(self, tenant_id: str, at: datetime) -> Sequence[CredentialStatus]:
        """Return the credentials that a tenant had at a time, by provider.

        Raises StoreUnavailableError, CredentialIntegrityError.
        """
        with unavailable(), self._pool.connection() as connection:
            others = connection.execute(_PROVIDERS, [tenant_id]).fetchall()
            names = {*self._providers, *(row["provider"] for row in others)}
            found = [self._state_at(connection, stream_id(tenant_id, name), at) for name in sorted(names)]
            live = [state for state in found if state is not None and state.sealed is not None]
            return [self._status_at(connection, state, at) for state in live]

    def _status_at(self, connection: Connection, state: Credential, at: datetime) -> CredentialStatus:
        said = self._last_at(connection, acceptance_stream(state.tenant_id, state.provider), at)
        answered = isinstance(said, AcceptanceEvent) and said.credential_version == state.version
        used = _last_use_at(connection, state, at)
        rejected = answered and isinstance(said, CredentialRejected)
        return CredentialStatus(state, self._opens(state), rejected, answered or used is not None, used)

    def _state_at(self, connection: Connection, stream: UUID, at: datetime) -> Credential | None:
        last = self._last_at(connection, stream, at)
        return evolve(last) if last is not None else None

    def _last_at(self, connection: Connection, stream: UUID, at: datetime) -> Event | None:
        version, codes = END, self._codes()
        with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
            while rows := cursor.execute(_DOWN, [stream, version, _PAGE]).fetchall():
                for row in rows:
                    require_code(LogRow._make(row), codes)
                    event = read_row(row).event
                    if event.timestamp <= at:
                        return event
                version = rows[-1][2]
        return None

    def _opens(self, state: Credential) -> bool:
        try:
            if state.sealed is not None:
                self._sealer.check(state.sealed, state.context)
        except ServiceError:
            return False
        return True


def _last_use_at(connection: Connection, state: Credential, at: datetime) -> datetime | None:
    """Return the end of the last call with this key and these settings that ended by `at`.

    Only the last call of an hour has a time, so an earlier one in the hour of `at` is missed.
    """
    stream = stream_id(state.tenant_id, state.provider)
    wanted = [state.tenant_id, state.provider, state.version, stream, state.version, at]
    row = connection.execute(_USED, wanted).fetchone()
    return row["last_used_at"] if row else None
