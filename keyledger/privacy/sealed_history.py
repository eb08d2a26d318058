"""The API keys of one tenant that the log still holds, sealed, and the encryption keys that open them.

Promises: complete, because it is counted from the whole audit trail, caught up with the log. A key that was retired is
not listed: nothing that it sealed can be opened once its holder has destroyed it.
"""

from collections.abc import Mapping

from psycopg_pool import ConnectionPool

from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import KEYRING_STREAM, replay
from projections.catch_up import CatchUp
from projections.database.connections import BoundedConnection, unavailable

_SEALED = """
SELECT key_id, count(*) AS n FROM audit_trail
 WHERE tenant_id::text = %s AND key_id IS NOT NULL GROUP BY key_id ORDER BY key_id
"""


def sealed_history(
    pool: ConnectionPool[BoundedConnection], log: StreamLog, follower: CatchUp, tenant_id: str
) -> Mapping[str, int]:
    """Return how many API keys of a tenant are sealed in the log, by the id of the encryption key that opens them.

    follower: of the audit trail. Raises StoreUnavailableError, CredentialIntegrityError.
    """
    follower.run()
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(_SEALED, [tenant_id]).fetchall()
    retired = replay(log.stream(KEYRING_STREAM)).retired
    return {row["key_id"]: row["n"] for row in rows if row["key_id"] not in retired}
