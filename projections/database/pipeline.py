"""One connection of the event loop, on which statements are sent while the answers to earlier ones are still coming.

Promises: a statement gets its own rows, or None after at most twice `DEADLINE`: once for a connection, once for the
answer. A connection that failed or was late is closed, so that a late answer is never taken for that of the next
statement. Each answer comes from a server that may be used (`admits`). Statements only read; none is sent twice.
There is no pool, cursor or task: with libpq's pipeline mode a read takes a quarter of the processor time.
Behind a pooler the statements that wait travel together in one transaction, with the time limits, and none is prepared.
The next transaction is sent when the answer to this one is complete: a pooler that finds a transaction over hands the
server to another client, and what had already been passed on of the next one would be lost (ADR 43).
Standards: libpq's pipeline mode and asynchronous command processing, through `psycopg.pq`.
"""

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGconn, PGresult

from projections.database.connections import DEADLINE, ONE_PLAN, BoundedConnection, connect_bounded
from projections.database.epochs import any_server
from projections.database.numbered import Statement

_RETRY_S = 0.1
"""Seconds between two attempts to connect while statements wait."""
_TOGETHER_MAX = 16
"""Statements in one transaction behind a pooler."""
_STOOD_STILL_S = 0.25
"""Seconds by which the loop calls late when it could not run, such as while a large module was loaded."""
_FINE = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK})
_BINARY = pq.Format.BINARY
_log = logging.getLogger("keyledger.store")


class Rows(list[tuple[Any, ...]]):
    """The rows of an answer. result: as libpq has it, for the names of the columns."""

    result: PGresult

    def named(self) -> list[dict[str, Any]]:
        """Return each row by the names of the columns."""
        names = [(self.result.fname(nth) or b"").decode() for nth in range(self.result.nfields)]
        return [dict(zip(names, row, strict=True)) for row in self]


Told = Callable[[Rows | None], None]
"""Called once with the answer to a statement; None if the database did not give one. Does not raise."""


class _Sent:
    """A statement that waits for a connection or an answer."""

    __slots__ = ("parameters", "statement", "timer", "told")

    def __init__(self, statement: Statement, parameters: Sequence[bytes], told: Told) -> None:
        self.statement = statement
        self.parameters = parameters
        self.told = told
        self.timer: asyncio.TimerHandle | None = None

    def limit(self, late: Callable[["_Sent"], None]) -> None:
        self.timer = asyncio.get_running_loop().call_later(DEADLINE, late, self)

    def end(self, rows: Rows | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.told(rows)


class Pipeline:
    """The connection, which is opened again whenever it is lost. A part of the service."""

    def __init__(self, dsn: str, admits: Callable[[str], bool] = any_server) -> None:
        """dsn: a libpq URL or parameter list. admits: says of a server's epoch whether the server may be used now."""
        self._dsn = dsn
        self._admits = admits
        self._connection: BoundedConnection | None = None
        self._socket = -1
        self._silent: Callable[[], bool] = bool
        self._values = Transformer()
        self._prepared: set[str] = set()
        self._waiting: deque[_Sent] = deque()
        self._under_way: deque[_Sent] = deque()
        self._results: list[PGresult] = []
        self._connecting: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "keyledger-connect")
        self._stopped = False

    async def start(self) -> None:
        """Begin to connect. Does not wait for the database, which may come back later."""
        self._connect_soon()

    async def stop(self) -> None:
        """Close the connection; what waits gets no answer."""
        self._stopped = True
        self._lost("stopped")
        self._end_waiting()
        if self._connecting is not None:
            await self._connecting
        self._thread.shutdown(wait=False)

    def send(self, statement: Statement, parameters: Sequence[bytes], told: Told) -> None:
        """Send a statement, now or once there is a connection. parameters: in PostgreSQL's text notation."""
        sent = _Sent(statement, parameters, told)
        sent.limit(self._late)
        self._waiting.append(sent)
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send the statements that wait, as far as the connection takes them now."""
        while self._waiting and self._usable():
            connection = self._connection
            assert connection is not None  # noqa: S101  it is usable
            if not connection.pooled:
                self._write(self._waiting.popleft())
            elif self._under_way:
                return
            else:
                self._write(*(self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER_MAX))))
        if self._waiting:
            self._connect_soon()

    def _usable(self) -> bool:
        """Whether the connection is there and leads to a server that may be used.

        An idle server is silent: what it has to say is the end of the connection, or a notice before it.
        """
        while self._connection is not None and not self._under_way and not self._silent():
            self._readable()
        if self._connection is not None and self._connection.misplaced:
            self._lost("of a server that may not be used")
        return self._connection is not None

    def _write(self, *together: _Sent) -> None:
        """Send one statement on a direct connection, some behind a pooler, ended by a synchronisation."""
        connection = self._connection
        assert connection is not None  # noqa: S101  the caller has asked
        self._under_way.extend(together)
        sending = connection.pgconn
        try:
            if connection.pooled:
                sending.send_query_params(b"BEGIN", None)
                sending.send_query_params(connection.limits(), None)
                for sent in together:
                    sending.send_query_params(sent.statement.text, sent.parameters, result_format=_BINARY)
                sending.send_query_params(b"COMMIT", None)
            else:
                self._write_prepared(sending, *together)
            sending.pipeline_sync()
            if sending.flush():
                asyncio.get_running_loop().add_writer(self._socket, self._writable)
        except psycopg.Error as error:
            self._lost(type(error).__name__)

    def _write_prepared(self, sending: PGconn, sent: _Sent) -> None:
        name = sent.statement.name
        if name not in self._prepared:
            sending.send_prepare(name.encode(), sent.statement.text)
            self._prepared.add(name)
        sending.send_query_prepared(name.encode(), sent.parameters, result_format=_BINARY)

    def _writable(self) -> None:
        """Send what the socket did not take before."""
        if self._connection is None:
            return
        sending = self._connection.pgconn
        try:
            if not sending.flush():
                asyncio.get_running_loop().remove_writer(self._socket)
        except psycopg.Error as error:
            self._lost(type(error).__name__)

    def _readable(self) -> None:
        """Read what has arrived: results, and after those that were sent together a synchronisation that ends them."""
        if self._connection is None:
            return
        reading = self._connection.pgconn
        try:
            reading.consume_input()
            while self._under_way and not reading.is_busy():  # a lost connection has no statement under way
                result = reading.get_result()
                if result is None:
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._answer()
                else:
                    self._results.append(result)
        except Exception as error:  # noqa: BLE001  what follows would be taken for this answer
            self._lost(type(error).__name__)

    def _answer(self) -> None:
        """Give the oldest statement its rows, or all those of a pooler's transaction theirs, up to one that failed."""
        results, self._results = self._results, []
        failed = next((result for result in results if result.status not in _FINE), None)
        found = [result for result in results if result.status == pq.ExecStatus.TUPLES_OK]
        if found and self._connection is not None and self._connection.pooled:
            epoch = found.pop(0).get_value(0, 0) or b""
            if not self._admits(epoch.decode()):
                self._lost("of a server that may not be used")
                return
        for result in found:
            rows = self._rows(result)
            self._under_way.popleft().end(rows)
        if failed is not None:
            state = failed.error_field(pq.DiagnosticField.SQLSTATE) or b"none"
            self._lost(f"sqlstate {state.decode('ascii', 'replace')}")
        self._send_waiting()

    def _rows(self, result: PGresult) -> Rows:
        self._values.set_pgresult(result)
        rows = Rows(self._values.load_rows(0, result.ntuples, tuple))
        rows.result = result
        return rows

    def _late(self, sent: _Sent) -> None:
        """Give a statement up, unless its answer is there, or its time passed while this loop stood still."""
        stood_still = sent.timer is not None and asyncio.get_running_loop().time() - sent.timer.when() > _STOOD_STILL_S
        self._readable()
        if sent.timer is None:
            return
        if stood_still:
            sent.limit(self._late)
        elif sent in self._waiting:
            self._waiting.remove(sent)
            sent.end(None)
        else:
            self._lost(f"no answer within {DEADLINE} s")

    def _lost(self, why: str) -> None:
        """Close the connection. Its statements get no answer, and those to come get another connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)  # libpq forgets the number when the connection breaks
        loop.remove_writer(self._socket)
        connection.pgconn.finish()
        under_way, self._under_way, self._results = self._under_way, deque(), []
        if under_way:
            _log.warning("database error: a connection was lost: %s", why)
        for sent in under_way:
            sent.end(None)
        self._connect_soon()

    def _end_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().end(None)

    def _connect_soon(self) -> None:
        if self._connecting is None and not self._stopped:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="database connection")

    async def _connect(self) -> None:
        """Open a connection, again and again while statements wait for one, and send those."""
        loop, failed = asyncio.get_running_loop(), False
        try:
            while not self._stopped:
                try:
                    connection = await loop.run_in_executor(self._thread, self._opened)
                except psycopg.Error as error:
                    if not failed:
                        _log.warning("database error %s: not connected", type(error).__name__)
                    failed = True
                else:
                    self._adopt(connection, loop)
                    if self._connection is not None:
                        return
                await asyncio.sleep(_RETRY_S)
                if not self._waiting:
                    return
        finally:
            self._connecting = None
            if self._stopped:
                self._lost("stopped")
                self._end_waiting()

    def _opened(self) -> BoundedConnection:
        connection = connect_bounded(self._dsn, self._admits, ONE_PLAN)
        if connection.misplaced:
            connection.close()
            raise psycopg.OperationalError("this server may not be used")
        connection.pgconn.nonblocking = 1
        connection.pgconn.enter_pipeline_mode()
        return connection

    def _adopt(self, connection: BoundedConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = connection.pgconn.socket
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        self._silent = lambda: not poll.poll(0)
        self._connection, self._prepared, self._values = connection, set(), Transformer(connection)
        loop.add_reader(self._socket, self._readable)
        self._send_waiting()
