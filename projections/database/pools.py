"""Pools of connections to PostgreSQL.

Promises: a connection from a pool leads to a server that was there a moment ago, and that may be used: where a node
holds a lease, to the server that confirmed it (`admits`). One system call and one comparison decide that.
"""

import select
from collections.abc import Callable

import psycopg
from psycopg_pool import ConnectionPool

from projections.database.connections import (
    DEADLINE,
    BoundedConnection,
    BoundedCursor,
    plain,
    reachable_conninfo,
    settle,
)
from projections.database.epochs import any_server

MAX_CONNECTIONS = 8
Admits = Callable[[str], bool]
"""Says of the epoch of a server whether it may be used now."""


def open_pool(dsn: str, admits: Admits = any_server, size: int = MAX_CONNECTIONS) -> ConnectionPool[BoundedConnection]:
    """Return an open pool of blocking connections in autocommit mode; rows are dictionaries. size: at most."""

    def configure(connection: BoundedConnection) -> None:
        connection.admits = admits
        settle(connection)

    return ConnectionPool(
        reachable_conninfo(dsn),
        connection_class=BoundedConnection,
        kwargs=plain(BoundedCursor),
        configure=configure,
        min_size=1,
        max_size=size,
        timeout=DEADLINE,
        reconnect_timeout=DEADLINE,
        num_workers=min(size, 3),
        check=_check,
        name="keyledger",
        open=True,
    )


def _check(connection: BoundedConnection) -> None:
    """Let the pool replace a connection whose server went away while it was idle, or may not be used."""
    if connection.misplaced:
        connection.close()
        raise psycopg.OperationalError("this server may not be used")
    if _has_something_to_say(connection.fileno()):
        ConnectionPool.check_connection(connection)


def _has_something_to_say(socket: int) -> bool:
    """An idle server is silent, so readable data is the end of the connection or a notice before it.

    This is one system call; asking the server would cost every request a round trip.
    """
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
