"""Which services run on the database, and which encryption keys they know.

Promises: a service that runs has renewed its row within `LIVE_S` seconds; a rotation can therefore see a node that
would not be able to read what it writes. Rows of services that ended disappear by themselves.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from psycopg_pool import ConnectionPool

from keyledger.keyring import Keyring
from projections.postgres import BoundedConnection, unavailable

BEAT_S = 10.0
"""Seconds between two renewals."""
LIVE_S = 30
"""Seconds after which a node that was not renewed counts as gone."""


@dataclass(frozen=True, slots=True)
class Node:
    """One running service. `name`: host and process number."""

    name: str
    primary_id: str
    key_ids: frozenset[str]


class Presence:
    """Tells the others that this service runs."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring
        self._id = uuid4()

    def beat(self) -> None:
        """Renew this service's row and forget those that ended. Raises StoreUnavailable."""
        with unavailable(), self._pool.connection() as connection:
            connection.execute(
                "INSERT INTO nodes (node_id, name, primary_key_id, key_ids) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (node_id) DO UPDATE SET seen_at = now()",
                [
                    self._id,
                    f"{socket.gethostname()}:{os.getpid()}",
                    self._keyring.primary_id,
                    sorted(self._keyring.key_ids),
                ],
            )
            connection.execute("DELETE FROM nodes WHERE seen_at < now() - make_interval(secs => %s)", [10 * LIVE_S])

    def leave(self) -> None:
        """Take this service's row away: it ends in order. Raises StoreUnavailable."""
        with unavailable(), self._pool.connection() as connection:
            connection.execute("DELETE FROM nodes WHERE node_id = %s", [self._id])


def live_nodes(pool: ConnectionPool[BoundedConnection]) -> Sequence[Node]:
    """Return the services that run now. Raises StoreUnavailable."""
    with unavailable(), pool.connection() as connection:
        rows = connection.execute(
            "SELECT name, primary_key_id, key_ids FROM nodes"
            " WHERE seen_at > now() - make_interval(secs => %s) ORDER BY name",
            [LIVE_S],
        ).fetchall()
    return [Node(row["name"], row["primary_key_id"], frozenset(row["key_ids"])) for row in rows]
