"""Connections to PostgreSQL, with or without a pooler in between.

Promises: no statement of a request waits longer than `DEADLINE` seconds, whether the server is gone, frozen or locked.
Every database failure leaves this module as StoreUnavailableError, without the driver's text, which quotes values.
Each new connection detects whether it is direct. A direct connection sets time limits and prepares statements in its
session. Behind a pooler the session is shared: nothing is left in it, no statement is prepared, and each transaction
sets the time limits itself. Statements are written the same way for both.
Values arrive in the same notation whatever defaults the server, the database or the role has for it.
Each connection knows the epoch of its server (`projections.database.epochs`), behind a pooler in each transaction.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from domain.errors import StoreUnavailableError
from projections.database.epochs import EPOCH, NO_EPOCH, any_server

EVENTS_TABLE = "keyledger_events"
DEADLINE = 1.5
"""Seconds for one statement of a request, or for getting a connection."""

_PREPARED_AFTER = 1
"""Executions of a statement on a direct connection before it is prepared."""
_LIMITS = {"statement_timeout": f"{DEADLINE * 1000:.0f}", "idle_in_transaction_session_timeout": "5000"}
NO_SETTINGS: Mapping[str, str] = {}
ONE_PLAN: Mapping[str, str] = {"plan_cache_mode": "force_generic_plan"}
"""For point reads by primary key: they have one good plan, and planning them again takes longer than executing them."""
_SETTLE = """
SELECT pg_backend_pid() = %(pid)s AS direct,
       (SELECT count(CASE WHEN pg_backend_pid() = %(pid)s THEN set_config(name, value, false) END)
          FROM unnest(%(names)s::text[], %(values)s::text[]) AS wanted (name, value))
"""
_LIMIT = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _LIMITS.items())
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_log = logging.getLogger("keyledger.store")

Row = DictRow
Connection = psycopg.Connection[DictRow]


class ServerOfConnection:
    """The server behind a connection.

    pooled: a pooler is between them, so each transaction may reach another server. epoch: that of a direct connection's
    server. epoch_sql: the expression that tells it. admits: says of an epoch whether that server may be used.
    prepared: the names of the statements that `projections.database.round_trip` prepared in the session.
    """

    pooled = False
    epoch = ""
    epoch_sql = EPOCH
    prepared: set[str]
    admits: Callable[[str], bool] = staticmethod(any_server)

    def limits(self) -> bytes:
        """Return the statement with which a transaction behind a pooler begins."""
        return f"SELECT {self.epoch_sql} AS epoch, {_LIMIT}".encode()

    @property
    def misplaced(self) -> bool:
        """Whether the connection is direct and its server may not be used."""
        return not self.pooled and not self.admits(self.epoch)

    def require_admitted(self, row: Row | None) -> None:
        """Raise psycopg.OperationalError if the server that answered `limits` may not be used."""
        self.require_epoch(None if row is None else row["epoch"])

    def require_epoch(self, epoch: str | None) -> None:
        """Raise psycopg.OperationalError if the server of a transaction, known by its epoch, may not be used."""
        if epoch is None or not self.admits(epoch):
            raise psycopg.OperationalError("this server may not be used")

    def settled(self, row: Row | None, epoch: str) -> None:
        """Note what `settle` found."""
        self.prepared = set()
        self.pooled = not (row and row["direct"])
        self.epoch = epoch


class BoundedCursor(psycopg.Cursor[DictRow]):
    """Executes a statement outside a transaction together with its time limits, in one round trip."""

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """Execute as the driver does."""
        if not isinstance(self.connection, BoundedConnection) or not self.connection.must_bring_limits():
            return super().execute(query, params, **how)
        with self.connection.limited():
            return super().execute(query, params, **how)


class BoundedConnection(ServerOfConnection, psycopg.Connection[DictRow]):
    """A connection that gives up waiting for the server after `DEADLINE` seconds.

    The client measures the time, because a frozen server or a dead link cannot. The server does too, so that an
    abandoned statement does not keep running there.
    """

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError, and closes the connection, at the deadline."""
        try:
            return super().wait(gen, interval, DEADLINE if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # its late answer would be taken for that of the next statement
            raise

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False, *, snapshot: bool = False
    ) -> Iterator[Any]:
        """Open a transaction, as the driver does, with the time limits.

        snapshot: it only reads, and sees the database as it was at its first statement.
        """
        brings_limits = self.must_bring_limits()
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if snapshot:
                self.execute(SNAPSHOT)  # PostgreSQL takes it before any other statement only
            if brings_limits:
                self.require_admitted(self.execute(self.limits()).fetchone())
            yield transaction

    def must_bring_limits(self) -> bool:
        """Say whether the next statement starts a transaction in a session without time limits."""
        return self.pooled and self.info.transaction_status == TransactionStatus.IDLE

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Send the statements executed inside as one transaction with the time limits, then wait for all of them."""
        try:
            with self.pipeline():
                psycopg.Cursor(self).execute("BEGIN")
                limits = psycopg.Cursor(self).execute(self.limits())
                yield
                psycopg.Cursor(self).execute("COMMIT")
            self.require_admitted(limits.fetchone())
        except BaseException:
            if not self.closed:
                self.rollback()
            raise


def connect_bounded(
    dsn: str, admits: Callable[[str], bool] = any_server, session: Mapping[str, str] = NO_SETTINGS
) -> BoundedConnection:
    """Return one connection like those of the pool. Raises psycopg.Error.

    session: settings of a direct connection, in addition to the time limits.
    """
    connection = BoundedConnection.connect(reachable_conninfo(dsn), **plain(BoundedCursor))
    connection.admits = admits
    settle(connection, session)
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


def plain(cursor: type[object]) -> dict[str, Any]:
    """Return the connection settings. They avoid the start-up parameter `options`, which poolers refuse."""
    return {"autocommit": True, "row_factory": dict_row, "cursor_factory": cursor, "prepare_threshold": None}


def settle(connection: BoundedConnection, session: Mapping[str, str] = NO_SETTINGS) -> None:
    """Detect whether the connection is direct, and if so set the session's time limits; learn the server's epoch.

    A pooler reports process ids of its own, because it does not tie a client to one server process.
    """
    row = connection.execute(_SETTLE, _wanted(connection.info.backend_pid, {**_LIMITS, **session})).fetchone()
    try:
        epoch = connection.execute(f"SELECT {EPOCH} AS epoch".encode()).fetchone()
    except NO_EPOCH:
        epoch, connection.epoch_sql = None, "''"
    connection.settled(row, epoch["epoch"] if epoch else "")
    connection.prepare_threshold = None if connection.pooled else _PREPARED_AFTER


def _wanted(pid: int, settings: Mapping[str, str]) -> dict[str, object]:
    return {"pid": pid, "names": list(settings), "values": list(settings.values())}


def reachable_conninfo(dsn: str) -> str:
    """Add settings that detect a lost server quickly, unless the operator's DSN sets them; fix the notation of values.

    With several hosts, only the one that accepts writes is used, for reads too: on a standby that lags, the projection
    and the log would agree on an outdated state.
    """
    limits: dict[str, Any] = {"connect_timeout": 2, "tcp_user_timeout": 3000, "keepalives_idle": 5}
    limits["target_session_attrs"] = "read-write"
    # The driver reads no other notation of a time. libpq has no parameter for it, but sends this when it connects.
    os.environ["PGDATESTYLE"] = "ISO, MDY"
    wanted = limits | {"application_name": "keyledger"} | psycopg.conninfo.conninfo_to_dict(dsn)
    return make_conninfo(dsn, **(wanted | {"client_encoding": "UTF8"}))
