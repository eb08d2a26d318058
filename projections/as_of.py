"""What was in effect at a time, read from the log.

Promises: of each credential the last event whose time is not later counts, in the order of the log; nothing but the log
is asked, so a view that somebody changed makes no difference. What can be opened is told as of now: an encryption key
that is gone opens no past.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from domain.audit_events import CredentialRejected, acceptance_stream
from domain.credential import Credential, evolve, stream_id
from domain.errors import ServiceError
from domain.event import Event
from domain.ports import Sealer
from domain.providers import BUILT_IN, Providers
from domain.service import CredentialStatus
from projections.catch_up import END, read_row
from projections.postgres import BoundedConnection, Connection, unavailable

_PAGE = 100
_DOWN = """
SELECT notification_id, originator_id, originator_version, topic, state FROM keyledger_events
 WHERE originator_id = %s AND originator_version < %s ORDER BY originator_version DESC LIMIT %s
"""


class PostgresPastCredentials:
    """Implements `domain.ports.PastCredentials`."""

    def __init__(
        self, pool: ConnectionPool[BoundedConnection], sealer: Sealer, providers: Providers = BUILT_IN
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._sealer = sealer

    def of_tenant(self, tenant_id: str, at: datetime) -> Sequence[CredentialStatus]:
        """Return the credentials that a tenant had at a time, by provider.

        Raises StoreUnavailable, CredentialIntegrityError.
        """
        with unavailable(), self._pool.connection() as connection:
            found = [_state_at(connection, stream_id(tenant_id, name), at) for name in sorted(self._providers)]
            live = [state for state in found if state is not None and state.sealed is not None]
            return [CredentialStatus(state, self._opens(state), _rejected_at(connection, state, at)) for state in live]

    def _opens(self, state: Credential) -> bool:
        try:
            if state.sealed is not None:
                self._sealer.check(state.sealed, state.context)
        except ServiceError:
            return False
        return True


def _state_at(connection: Connection, stream: UUID, at: datetime) -> Credential | None:
    last = _last_at(connection, stream, at)
    return evolve(last) if last is not None else None


def _rejected_at(connection: Connection, state: Credential, at: datetime) -> bool:
    """Say whether the provider had refused the credential at this version by then, and not taken it again."""
    last = _last_at(connection, acceptance_stream(state.tenant_id, state.provider), at)
    return isinstance(last, CredentialRejected) and last.credential_version == state.version


def _last_at(connection: Connection, stream: UUID, at: datetime) -> Event | None:
    version = END
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        while rows := cursor.execute(_DOWN, [stream, version, _PAGE]).fetchall():
            for row in rows:
                event = read_row(row).event
                if event.timestamp <= at:
                    return event
            version = rows[-1][2]
    return None
