"""The services that run on the database, and the encryption keys that each knows.

Promises: a running service has renewed its row within the last `LIVE_S` seconds, so a rotation sees every node that
could not open what it seals. A service without tenant credentials is listed without keys: a rotation ignores it, a
restore does not. Two nodes never choose their keys at the same time (`settle`). Rows of services that ended are
removed. A service that was killed counts as gone at once on its own machine, and elsewhere after `LIVE_S` seconds.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from uuid import UUID, uuid4

from psycopg_pool import ConnectionPool

from keyledger.encryption.keyring import Keyring
from projections.database.connections import BoundedConnection, Row, unavailable

BEAT_S = 10.0
"""Seconds between two renewals."""
LIVE_S = 30
"""Seconds without renewal after which a node counts as gone."""


@dataclass(frozen=True, slots=True)
class Node:
    """One running service. name: host and process number. version: of the program, "" if unknown.

    primary_id: "" for a service without keys.
    """

    name: str
    primary_id: str
    key_ids: frozenset[str]
    version: str = ""


class Presence:
    """Registers this service as running."""

    def __init__(self, pool: ConnectionPool[BoundedConnection]) -> None:
        self._pool = pool
        self._id = uuid4()

    def beat(self, keyring: Keyring | None) -> None:
        """Renew this service's row with the keys it knows, and delete rows that expired.

        Raises StoreUnavailableError.
        """
        with unavailable(), self._pool.connection() as connection:
            self._tell(connection, keyring)
            connection.execute("DELETE FROM nodes WHERE seen_at < now() - make_interval(secs => %s)", [10 * LIVE_S])

    def settle(self, decide: Callable[[Sequence[Node]], Keyring | None]) -> None:
        """Register this service with the ring that `decide` chooses; no other node decides meanwhile.

        decide: called with the other running services; if it returns None or raises, nothing is registered. Raises
        StoreUnavailableError.
        """
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyledger nodes', 0))")
            keyring = decide(_with_keys(_running(connection, self._id)))
            if keyring is not None:
                self._tell(connection, keyring)

    def _tell(self, connection: BoundedConnection, keyring: Keyring | None) -> None:
        primary, known = (keyring.primary_id, sorted(keyring.key_ids)) if keyring is not None else ("", [])
        connection.execute(
            "INSERT INTO nodes (node_id, name, process, primary_key_id, key_ids, version)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (node_id) DO UPDATE SET seen_at = now(),"
            " primary_key_id = excluded.primary_key_id, key_ids = excluded.key_ids",
            [
                self._id,
                f"{socket.gethostname()} (process {os.getpid()})",
                _process(os.getpid()),
                primary,
                known,
                version("keyledger"),
            ],
        )

    def others(self) -> Sequence[Node]:
        """Return the other running services. Raises StoreUnavailableError."""
        return live_nodes(self._pool, apart_from=self._id)

    def leave(self) -> None:
        """Delete this service's row, because it shuts down. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            connection.execute("DELETE FROM nodes WHERE node_id = %s", [self._id])


def live_nodes(pool: ConnectionPool[BoundedConnection], apart_from: UUID | None = None) -> Sequence[Node]:
    """Return the running services that have keys, apart from one. Raises StoreUnavailableError."""
    return _with_keys(running_nodes(pool, apart_from))


def running_nodes(pool: ConnectionPool[BoundedConnection], apart_from: UUID | None = None) -> Sequence[Node]:
    """Return all running services, apart from one. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        return _running(connection, apart_from)


def _with_keys(nodes: Sequence[Node]) -> Sequence[Node]:
    return [node for node in nodes if node.primary_id]


def _running(connection: BoundedConnection, apart_from: UUID | None) -> Sequence[Node]:
    rows: Sequence[Row] = connection.execute(
        # Not now(): this transaction may have waited for another, whose row is newer than its own start.
        "SELECT name, process, primary_key_id, key_ids, version FROM nodes"
        " WHERE seen_at > clock_timestamp() - make_interval(secs => %s) AND node_id IS DISTINCT FROM %s ORDER BY name",
        [LIVE_S, apart_from],
    ).fetchall()
    return [
        Node(row["name"], row["primary_key_id"], frozenset(row["key_ids"]), row["version"])
        for row in rows
        if not _is_known_to_be_gone(row["process"])
    ]


def _process(number: int) -> str:
    """Return a name that no other process on any machine or in any container has; "" if unknown.

    It consists of the kernel's boot id, the PID namespace, the PID and the start time (Linux, proc(5)).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        started = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}/{number}/{started}"
    except (OSError, IndexError, UnicodeError):
        return ""


def _is_known_to_be_gone(process: str) -> bool:
    """Return whether a process ran on this machine and does not run any more."""
    here, mine = process.split("/"), _process(os.getpid()).split("/")
    if len(here) != len(mine) or len(mine) < 2 or here[:2] != mine[:2]:
        return False
    return _process(int(here[2])) != process
