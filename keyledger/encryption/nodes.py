"""The services that run on the database, and the encryption keys that each knows.

Promises: a running service has renewed its row within the last `LIVE_S` seconds, so a rotation sees every node that
could not open what it seals. A row counts only with a right code under a key that the reader shares
(`keyledger.encryption.node_codes`): one that was forged, changed or renewed by anyone else stops nothing, and `strays`
names it. A row whose keys the reader does not know counts only while nothing live is sealed under the reader's own
keys: a genuine node of that kind could not have started otherwise. A service without tenant credentials is listed
without keys and code: a rotation ignores it, a restore does not.
Two nodes never choose their keys at the same time (`settle`). Rows of services that ended are removed. A service that
was killed counts as gone at once on its own machine, and elsewhere after `LIVE_S` seconds.
"""

import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import LiteralString
from uuid import UUID, uuid4

from psycopg_pool import ConnectionPool

from domain.approvals.needs import Approval
from domain.errors import ServiceError
from domain.events.event import utc_now
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.node_codes import NodeRow, Standing, codes_of, standing_of
from keyledger.encryption.node_release import naming, own_release
from keyledger.log.acknowledged import Acknowledged
from keyledger.log.confirmation import without_warning
from keyledger.log.node_lease import ACKNOWLEDGED, Beat, NodeLease, elapsed
from projections.database.connections import BoundedConnection, Connection, Row, unavailable
from projections.database.row_locks import NODES, hold

BEAT_S = 1.0
"""Seconds between two renewals: a node misses four before its lease ends."""
LIVE_S = 30
"""Seconds without renewal after which a node counts as gone."""
PUBLISHED = 256
"""Published checkpoints that are read at most."""

# Not now(): this transaction may have waited for another, whose row is newer than its own start.
_LIVE: LiteralString = """
SELECT node_id, name, process, primary_key_id, key_ids, version, seen_at, {codes}
  FROM nodes
 WHERE seen_at > clock_timestamp() - make_interval(secs => %(live)s)
   AND seen_at < clock_timestamp() + make_interval(secs => %(live)s)
   AND node_id IS DISTINCT FROM %(apart_from)s
 ORDER BY name
"""
_WITH_CODES: LiteralString = _LIVE.replace(
    "{codes}", "codes, (SELECT ledger_id::text FROM keyledger_ledger LIMIT 1) AS ledger_id"
)
# For tables of an earlier version too, which a restore replaces.
_WITHOUT_CODES: LiteralString = _LIVE.replace("{codes}", "'{}'::bytea[] AS codes, NULL AS ledger_id")
_DELETE_EXPIRED = """
DELETE FROM nodes
 WHERE seen_at < clock_timestamp() - make_interval(secs => %(expired)s)
    OR seen_at > clock_timestamp() + make_interval(secs => %(expired)s)
"""
_PRESENT = """
SELECT clock_timestamp() AS seen_at, (SELECT ledger_id::text FROM keyledger_ledger LIMIT 1) AS ledger_id,
       {epoch} AS epoch
"""
# An operator's `synchronous_commit = off` would let a heartbeat count that was not even written.
_DURABLY = """
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
"""
_BEHIND = """
SELECT process FROM nodes
 WHERE epoch <> %(epoch)s AND node_id <> %(node)s AND seen_at > clock_timestamp() - make_interval(secs => %(live)s)
"""
_TELL = """
INSERT INTO nodes (node_id, name, process, primary_key_id, key_ids, version, seen_at, codes, epoch, checkpoint)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (node_id) DO UPDATE SET
       name = excluded.name, process = excluded.process, primary_key_id = excluded.primary_key_id,
       key_ids = excluded.key_ids, version = excluded.version, seen_at = excluded.seen_at, codes = excluded.codes,
       epoch = excluded.epoch, checkpoint = coalesce(excluded.checkpoint, nodes.checkpoint)
"""


@dataclass(frozen=True, slots=True)
class Node:
    """One running service. name: host and process number. version: its release (`node_release`), "" if unknown.

    primary_id: "" for a service without keys. standing: what its codes show to the reader; None to one without keys.
    """

    name: str
    primary_id: str
    key_ids: frozenset[str]
    version: str = ""
    standing: Standing | None = None


class Presence:
    """Registers this service as running, and publishes its last checkpoint."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        lease: NodeLease | None = None,
        own: ConnectionPool[BoundedConnection] | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """lease: renewed by each beat. own: connections for beats, which wait for nothing else; by default, `pool`.

        acknowledged: compared with the log at each beat.
        """
        self._pool = pool
        self._lease = lease if lease is not None else NodeLease()
        self._own = own or pool
        self._acknowledged = acknowledged or Acknowledged()
        self._id = uuid4()
        self._checkpoint: str | None = None
        self.approvals: Collection[Approval] = ()
        """The commands that APPROVALS names in this service, which its row names too."""

    def beat(self, keyring: Keyring | None) -> None:
        """Renew this service's row with the keys it knows, and with it the lease; delete rows that expired.

        Raises StoreUnavailableError.
        """
        sent, here = elapsed(), utc_now()
        with unavailable(), self._own.connection() as connection, without_warning(connection), connection.transaction():
            connection.execute(_DURABLY)
            epoch, seen_at = self._tell(connection, keyring)
            connection.execute(_DELETE_EXPIRED, {"expired": 10 * LIVE_S})
            behind = self._behind(connection, epoch)
            lost = self._acknowledged.contradiction(connection)
        # The database's time was read in between, so this is an error of at most the time that took.
        apart = (max(timedelta(0), here - seen_at) or min(timedelta(0), utc_now() - seen_at)).total_seconds()
        self._lease.contradict(ACKNOWLEDGED, lost)
        self._lease.renew(Beat(epoch, sent, behind, apart))

    def _behind(self, connection: BoundedConnection, epoch: str) -> bool:
        wanted = {"epoch": epoch, "node": self._id, "live": LIVE_S}
        rows = connection.execute(_BEHIND, wanted).fetchall()
        return any(not _is_known_to_be_gone(row["process"]) for row in rows)

    def settle(self, keyring: Keyring, decide: Callable[[Sequence[Node]], Keyring | None]) -> None:
        """Register this service with the ring that `decide` chooses; no other node decides meanwhile.

        keyring: the keys that this service knows. decide: called with the other running services; if it returns None or
        raises, nothing is registered. Raises StoreUnavailableError.
        """
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            hold(connection, NODES)
            chosen = decide(_counted(connection, keyring, self._id))
            if chosen is not None:
                self._tell(connection, chosen)

    @contextmanager
    def alone_with(self, keyring: Keyring | None) -> Iterator[tuple[BoundedConnection, Sequence[Node]]]:
        """Yield the other running services and a transaction during which no node registers keys or settles.

        Raises StoreUnavailableError.
        """
        with unavailable(), self._pool.connection() as connection, connection.transaction():
            hold(connection, NODES)
            yield connection, _running(connection, keyring, self._id)

    def others(self, keyring: Keyring | None) -> Sequence[Node]:
        """Return the other running services that have keys, as one with this ring sees them.

        Raises StoreUnavailableError.
        """
        if keyring is None:
            return []
        with unavailable(), self._pool.connection() as connection:
            return _counted(connection, keyring, self._id)

    def publish(self, checkpoint: str) -> None:
        """Show the other nodes the last checkpoint of this one; each beat shows it again, so a failure is ignored."""
        if checkpoint == self._checkpoint:
            return
        self._checkpoint = checkpoint
        with suppress(ServiceError), unavailable(), self._pool.connection() as connection:
            connection.execute("UPDATE nodes SET checkpoint = %s WHERE node_id = %s", [checkpoint, self._id])

    def published(self, connection: Connection) -> Sequence[tuple[str, str]]:
        """Return the names and the published checkpoints of other nodes."""
        return published_checkpoints(connection, self._id)

    def leave(self) -> None:
        """Delete this service's row, because it shuts down. Raises StoreUnavailableError."""
        with unavailable(), self._pool.connection() as connection:
            connection.execute("DELETE FROM nodes WHERE node_id = %s", [self._id])

    def _tell(self, connection: BoundedConnection, keyring: Keyring | None) -> tuple[str, datetime]:
        """Renew the row, and return the server's epoch and time."""
        present = connection.execute(_PRESENT.format(epoch=connection.epoch_sql).encode()).fetchone()
        assert present is not None  # noqa: S101  a SELECT without FROM has one row
        row = self._row(present["ledger_id"] or "", present["seen_at"], keyring)
        codes = codes_of(row, keyring) if keyring is not None else []
        key_ids = list(row.key_ids)
        members = [row.node_id, row.name, row.process, row.primary_id, key_ids, row.version, row.seen_at, codes]
        connection.execute(_TELL, [*members, present["epoch"], self._checkpoint])
        return present["epoch"], present["seen_at"]

    def _row(self, ledger_id: str, seen_at: datetime, keyring: Keyring | None) -> NodeRow:
        primary, known = (keyring.primary_id, tuple(sorted(keyring.key_ids))) if keyring is not None else ("", ())
        name = f"{socket.gethostname()} (process {os.getpid()})"
        process = _process(os.getpid())
        release = naming(own_release(), self.approvals)
        return NodeRow(ledger_id, self._id, name, process, primary, known, release, seen_at)


def live_nodes(pool: ConnectionPool[BoundedConnection], keyring: Keyring) -> Sequence[Node]:
    """Return the genuine running services that share a key with a ring. Raises StoreUnavailableError."""
    return [node for node in running_nodes(pool, keyring) if node.standing is Standing.GENUINE]


def strays(pool: ConnectionPool[BoundedConnection], keyring: Keyring) -> Sequence[Node]:
    """Return the rows that no node with a key of the ring wrote. Raises StoreUnavailableError."""
    return [node for node in running_nodes(pool, keyring) if node.standing in {Standing.FORGED, Standing.FOREIGN}]


def running_nodes(pool: ConnectionPool[BoundedConnection], keyring: Keyring | None) -> Sequence[Node]:
    """Return all rows of running services, with their standing where there is a ring. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        return _running(connection, keyring, None)


def published_checkpoints(connection: Connection, apart_from: UUID | None = None) -> Sequence[tuple[str, str]]:
    """Return the names and the published checkpoints of nodes, also of some that ended."""
    rows = connection.execute(
        "SELECT name, checkpoint FROM nodes WHERE checkpoint IS NOT NULL AND node_id IS DISTINCT FROM %s"
        " ORDER BY seen_at DESC LIMIT %s",
        [apart_from, PUBLISHED],
    ).fetchall()
    return [(row["name"], row["checkpoint"]) for row in rows]


def _counted(connection: BoundedConnection, keyring: Keyring, apart_from: UUID) -> Sequence[Node]:
    """Return the nodes with keys whose keys have to agree with a ring."""
    found = [node for node in _running(connection, keyring, apart_from) if node.standing is not None]
    genuine = [node for node in found if node.standing is Standing.GENUINE]
    foreign = [node for node in found if node.standing is Standing.FOREIGN]
    if not foreign or _opens_something_live(connection, keyring):
        return genuine
    return [*genuine, *foreign]


def _opens_something_live(connection: BoundedConnection, keyring: Keyring) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM current_credentials WHERE token IS NOT NULL AND key_id = ANY (%s)) AS found",
        [list(keyring.key_ids)],
    ).fetchone()
    return bool(row and row["found"])


def _running(connection: BoundedConnection, keyring: Keyring | None, apart_from: UUID | None) -> Sequence[Node]:
    query = _WITHOUT_CODES if keyring is None else _WITH_CODES
    rows = connection.execute(query, {"live": LIVE_S, "apart_from": apart_from}).fetchall()
    return [_node(row, keyring) for row in rows if not _is_known_to_be_gone(row["process"])]


def _node(row: Row, keyring: Keyring | None) -> Node:
    """Return the node of a row, any member of which may be made up."""
    key_ids = tuple(map(str, row["key_ids"]))
    written = NodeRow(
        row["ledger_id"] or "",
        row["node_id"],
        row["name"],
        row["process"],
        row["primary_key_id"],
        key_ids,
        row["version"],
        row["seen_at"],
    )
    codes = [code if isinstance(code, bytes) else b"" for code in row["codes"]]
    has_keys = bool(written.primary_id or key_ids)
    standing = standing_of(written, codes, keyring) if keyring is not None and has_keys else None
    return Node(written.name, written.primary_id, frozenset(key_ids), written.version, standing)


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
    return here[2].isdecimal() and _process(int(here[2])) != process
