"""Connections to PostgreSQL.

Promises: no statement of a request waits longer than `DEADLINE` seconds, whether the server is gone, frozen or locked;
every failure of the database leaves here as StoreUnavailable, without the driver's text, which quotes values.
"""

import logging
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from domain.errors import StoreUnavailable

EVENTS_TABLE = "keyledger_events"
DEADLINE = 1.5
"""Seconds for one statement of a request, or for getting a connection: a failed write and the look at what became of it
stay within three."""

MAX_CONNECTIONS = 8
# Point reads by primary keys have one good plan; making it anew for every call takes longer than carrying it out.
_ONE_PLAN = "-c plan_cache_mode=force_generic_plan"
_log = logging.getLogger("keyledger.store")

Row = DictRow
Connection = psycopg.Connection[DictRow]


class BoundedConnection(psycopg.Connection[DictRow]):
    """A connection that gives up waiting for the server after `DEADLINE` seconds.

    A server that is frozen or behind a dead link keeps no promise of its own, so the client keeps the time.
    """

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError, and closes the connection, at the deadline."""
        try:
            return super().wait(gen, interval, DEADLINE if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()  # its answer would be taken for that of the next statement
            raise


class BoundedAsyncConnection(psycopg.AsyncConnection[DictRow]):
    """The same for the event loop."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109  the driver's own signature
    ) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError, and closes the connection, at the deadline."""
        try:
            return await super().wait(gen, interval, DEADLINE if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def open_pool(dsn: str) -> ConnectionPool[BoundedConnection]:
    """Return an open pool of blocking connections in autocommit mode; rows are dictionaries."""
    return ConnectionPool(
        _request_conninfo(dsn),
        connection_class=BoundedConnection,
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=MAX_CONNECTIONS,
        timeout=DEADLINE,
        reconnect_timeout=DEADLINE,
        check=_check,
        name="keyledger",
        open=True,
    )


def make_async_pool(dsn: str) -> AsyncConnectionPool[BoundedAsyncConnection]:
    """Return a pool of connections for the event loop. Open it there."""
    return AsyncConnectionPool(
        _request_conninfo(dsn, _ONE_PLAN),
        connection_class=BoundedAsyncConnection,
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=MAX_CONNECTIONS,
        timeout=DEADLINE,
        reconnect_timeout=DEADLINE,
        check=_check_async,
        name="keyledger-async",
        open=False,
    )


def connect(dsn: str) -> Connection:
    """Return one connection for long work, in autocommit mode, without a deadline. Raises StoreUnavailable."""
    with unavailable():
        return psycopg.Connection[DictRow].connect(_reachable_conninfo(dsn), autocommit=True, row_factory=dict_row)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn errors of the database into StoreUnavailable. Logs their class and SQLSTATE, never their text."""
    try:
        yield
    except psycopg.Error as error:
        if was_interrupted(error):  # cleaning up on an interrupted connection fails; that is no outage
            raise KeyboardInterrupt from None
        _log.warning("database error %s sqlstate %s", type(error).__name__, error.sqlstate or "none")
        raise StoreUnavailable from None


def was_interrupted(error: BaseException | None) -> bool:
    """Say whether Ctrl-C is behind an error: the driver cancels its statement, and then reports how that ended."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _check(connection: BoundedConnection) -> None:
    """Let the pool replace a connection whose server went away while it was idle."""
    if _has_something_to_say(connection.fileno()):
        ConnectionPool.check_connection(connection)


async def _check_async(connection: BoundedAsyncConnection) -> None:
    if _has_something_to_say(connection.fileno()):
        await AsyncConnectionPool.check_connection(connection)


def _has_something_to_say(socket: int) -> bool:
    """An idle server is silent: what can be read is the end of the connection, or a notice before it.

    One system call, where asking the server would cost every request a round trip.
    """
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def _request_conninfo(dsn: str, more: str = "") -> str:
    statement_limit = f"-c statement_timeout={int(DEADLINE * 1000)} -c idle_in_transaction_session_timeout=5000"
    statement_limit = f"{statement_limit} {more}".strip()
    given = psycopg.conninfo.conninfo_to_dict(dsn).get("options") or ""
    return make_conninfo(_reachable_conninfo(dsn), options=f"{given} {statement_limit}".strip())


def _reachable_conninfo(dsn: str) -> str:
    """Add what makes a lost server known soon, unless the operator's DSN says otherwise.

    Of several hosts only the one that takes writes will do, for reads too: on a standby that is behind, the view and
    the log would agree on what is no longer true.
    """
    limits: dict[str, Any] = {"connect_timeout": 2, "tcp_user_timeout": 3000, "keepalives_idle": 5}
    limits["target_session_attrs"] = "read-write"
    return make_conninfo(dsn, **(limits | {"application_name": "keyledger"} | psycopg.conninfo.conninfo_to_dict(dsn)))
