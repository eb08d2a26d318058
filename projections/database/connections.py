"""Connections to PostgreSQL, with or without a pooler in between.

Promises: no statement of a request waits longer than `DEADLINE` seconds, whether the server is gone, frozen or locked.
Every database failure leaves this module as StoreUnavailableError, without the driver's text, which quotes values.
Each new connection detects whether it is direct. A direct connection sets time limits and prepares statements in its
session. Behind a pooler the session is shared: nothing is left in it, no statement is prepared, and each transaction
sets the time limits itself. Statements are written the same way for both.
"""

import logging
import select
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from domain.errors import StoreUnavailableError

EVENTS_TABLE = "keyledger_events"
DEADLINE = 1.5
"""Seconds for one statement of a request, or for getting a connection: a failed write and the check of its outcome
take at most three."""

MAX_CONNECTIONS = 8
_PREPARED_AFTER = 1
"""Executions of a statement on a direct connection before it is prepared."""
_LIMITS = {"statement_timeout": f"{DEADLINE * 1000:.0f}", "idle_in_transaction_session_timeout": "5000"}
# Point reads by primary key have one good plan, and planning them again takes longer than executing them.
_ONE_PLAN = {"plan_cache_mode": "force_generic_plan"}
_SETTLE = """
SELECT pg_backend_pid() = %(pid)s AS direct,
       (SELECT count(CASE WHEN pg_backend_pid() = %(pid)s THEN set_config(name, value, false) END)
          FROM unnest(%(names)s::text[], %(values)s::text[]) AS wanted (name, value))
"""
_LIMIT_TRANSACTION = "; ".join(f"SET LOCAL {name} = {value}" for name, value in _LIMITS.items())
_LIMIT_STATEMENT = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _LIMITS.items())
_log = logging.getLogger("keyledger.store")

Row = DictRow
Connection = psycopg.Connection[DictRow]


class _BoundedCursor(psycopg.Cursor[DictRow]):
    """Executes a statement outside a transaction together with its time limits, in one round trip."""

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """Execute as the driver does."""
        if not isinstance(self.connection, BoundedConnection) or not self.connection.must_bring_limits():
            return super().execute(query, params, **how)
        with self.connection.limited():
            return super().execute(query, params, **how)


class BoundedConnection(psycopg.Connection[DictRow]):
    """A connection that gives up waiting for the server after `DEADLINE` seconds.

    The client measures the time, because a frozen server or a dead link cannot. The server does too, so that an
    abandoned statement does not keep running there.
    """

    pooled = False

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError, and closes the connection, at the deadline."""
        try:
            return super().wait(gen, interval, DEADLINE if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # its late answer would be taken for that of the next statement
            raise

    @contextmanager
    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> Iterator[Any]:
        """Open a transaction, as the driver does, with the time limits."""
        brings_limits = self.must_bring_limits()
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if brings_limits:
                self.execute(_LIMIT_TRANSACTION)
            yield transaction

    def must_bring_limits(self) -> bool:
        """Say whether the next statement starts a transaction in a session without time limits."""
        return self.pooled and self.info.transaction_status == TransactionStatus.IDLE

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Send the statements executed inside as one transaction with the time limits, then wait for all of them."""
        try:
            with self.pipeline():
                for before in ("BEGIN", _LIMIT_STATEMENT):
                    psycopg.Cursor(self).execute(before)
                yield
                psycopg.Cursor(self).execute("COMMIT")
        except BaseException:
            if not self.closed:
                self.rollback()
            raise


class _BoundedAsyncCursor(psycopg.AsyncCursor[DictRow]):
    """The same for the event loop."""

    async def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """Execute as the driver does."""
        if not isinstance(self.connection, BoundedAsyncConnection) or not self.connection.must_bring_limits():
            return await super().execute(query, params, **how)
        async with self.connection.limited():
            return await super().execute(query, params, **how)


class BoundedAsyncConnection(psycopg.AsyncConnection[DictRow]):
    """The same for the event loop, which sends single statements only."""

    pooled = False

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
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    def must_bring_limits(self) -> bool:
        """Say whether the next statement starts a transaction in a session without time limits."""
        return self.pooled and self.info.transaction_status == TransactionStatus.IDLE

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        """Send the statements executed inside as one transaction with the time limits, then wait for all of them."""
        try:
            async with self.pipeline():
                for before in ("BEGIN", _LIMIT_STATEMENT):
                    await psycopg.AsyncCursor(self).execute(before)
                yield
                await psycopg.AsyncCursor(self).execute("COMMIT")
        except BaseException:
            if not self.closed:
                await self.rollback()
            raise


def open_pool(dsn: str) -> ConnectionPool[BoundedConnection]:
    """Return an open pool of blocking connections in autocommit mode; rows are dictionaries."""
    return ConnectionPool(
        reachable_conninfo(dsn),
        connection_class=BoundedConnection,
        kwargs=_plain(_BoundedCursor),
        configure=_settle,
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
        reachable_conninfo(dsn),
        connection_class=BoundedAsyncConnection,
        kwargs=_plain(_BoundedAsyncCursor),
        configure=_settle_async,
        min_size=1,
        max_size=MAX_CONNECTIONS,
        timeout=DEADLINE,
        reconnect_timeout=DEADLINE,
        check=_check_async,
        name="keyledger-async",
        open=False,
    )


def connect_bounded(dsn: str) -> BoundedConnection:
    """Return one connection like those of the pool. Raises psycopg.Error."""
    connection = BoundedConnection.connect(reachable_conninfo(dsn), **_plain(_BoundedCursor))
    _settle(connection)
    return connection


def connect(dsn: str) -> Connection:
    """Return one connection for long work, in autocommit mode, without a deadline. Raises StoreUnavailableError.

    Behind a pooler, session state, locks above all, ends with each transaction.
    """
    with unavailable():
        connection = psycopg.Connection[DictRow].connect(
            reachable_conninfo(dsn), autocommit=True, row_factory=dict_row, prepare_threshold=None
        )
        row = connection.execute(_SETTLE, _wanted(connection.info.backend_pid, {})).fetchone()
        if row and row["direct"]:
            connection.prepare_threshold = _PREPARED_AFTER
    return connection


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn errors of the database into StoreUnavailableError. Logs their class and SQLSTATE, never their text."""
    try:
        yield
    except psycopg.Error as error:
        if was_interrupted(error):  # cleaning up an interrupted connection fails, which does not mean an outage
            raise KeyboardInterrupt from None
        _log.warning("database error %s sqlstate %s", type(error).__name__, error.sqlstate or "none")
        raise StoreUnavailableError from None


def was_interrupted(error: BaseException | None) -> bool:
    """Say whether Ctrl-C caused an error: the driver cancels its statement, then reports how that ended."""
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
    """An idle server is silent, so readable data is the end of the connection or a notice before it.

    This is one system call; asking the server would cost every request a round trip.
    """
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def _plain(cursor: type[object]) -> dict[str, Any]:
    """Return the connection settings. They avoid the start-up parameter `options`, which poolers refuse."""
    return {"autocommit": True, "row_factory": dict_row, "cursor_factory": cursor, "prepare_threshold": None}


def _settle(connection: BoundedConnection) -> None:
    """Detect whether the connection is direct, and if so set the session's time limits.

    A pooler reports process ids of its own, because it does not tie a client to one server process.
    """
    row = connection.execute(_SETTLE, _wanted(connection.info.backend_pid, _LIMITS)).fetchone()
    connection.pooled = not (row and row["direct"])
    connection.prepare_threshold = None if connection.pooled else _PREPARED_AFTER


async def _settle_async(connection: BoundedAsyncConnection) -> None:
    cursor = await connection.execute(_SETTLE, _wanted(connection.info.backend_pid, _LIMITS | _ONE_PLAN))
    row = await cursor.fetchone()
    connection.pooled = not (row and row["direct"])
    connection.prepare_threshold = None if connection.pooled else _PREPARED_AFTER


def _wanted(pid: int, settings: Mapping[str, str]) -> dict[str, object]:
    return {"pid": pid, "names": list(settings), "values": list(settings.values())}


def reachable_conninfo(dsn: str) -> str:
    """Add settings that detect a lost server quickly, unless the operator's DSN sets them.

    With several hosts, only the one that accepts writes is used, for reads too: on a standby that lags, the projection
    and the log would agree on an outdated state.
    """
    limits: dict[str, Any] = {"connect_timeout": 2, "tcp_user_timeout": 3000, "keepalives_idle": 5}
    limits["target_session_attrs"] = "read-write"
    return make_conninfo(dsn, **(limits | {"application_name": "keyledger"} | psycopg.conninfo.conninfo_to_dict(dsn)))
