"""Several transactions on a connection of a pool, in one round trip.

Promises: the statements leave together, each as a transaction of its own, which is over before the next one begins: a
lock that one takes is not held while the client waits, and what one commits the next one sees. The first that fails is
the outcome of all. A connection that is late or lost is closed, so that a late answer is never taken for another's.
On a direct connection each statement is prepared once. Behind a pooler none is, and each transaction brings the time
limits; the pooler keeps the server for the client until it has answered all, because only that ends the message.
Standards: libpq's pipeline mode, through `psycopg.pq`.
"""

from collections.abc import Iterable, Sequence
from struct import pack
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from projections.database.connections import BoundedConnection
from projections.database.numbered import Statement

BIGINT, BYTEA, TEXT, UUID_TYPE = 20, 17, 25, 2950
"""PostgreSQL's numbers of the types that arrays are sent of."""
_NULL = pack("!i", -1)
_BINARY, _TEXT = pq.Format.BINARY, pq.Format.TEXT
_FAILED = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE})


class Array(bytes):
    """An array in PostgreSQL's binary form, which client and server read and write faster than its text."""


class Step(NamedTuple):
    """A statement that is a transaction of its own. Its parameters: texts, arrays, and None for NULL."""

    statement: Statement
    parameters: Sequence[bytes | None]


def array(type_number: int, elements: Iterable[bytes | None]) -> Array:
    """Return an array of elements in their binary form, with None for NULL."""
    parts = [_NULL if element is None else pack("!i", len(element)) + element for element in elements]
    head = pack("!iiiii", 1, 1, type_number, len(parts), 1) if parts else pack("!iii", 0, 0, type_number)
    return Array(b"".join((head, *parts)))


def in_one_trip(connection: BoundedConnection, *steps: Step) -> list[PGresult]:
    """Carry out the steps, and return the rows of each. Raises psycopg.Error."""
    try:
        connection.pgconn.enter_pipeline_mode()
        results = _pooled(connection, steps) if connection.pooled else _direct(connection, steps)
        connection.pgconn.exit_pipeline_mode()
    except BaseException:
        connection.close()
        raise
    failed = next((result for result in results if result.status in _FAILED), None)
    if failed is None:
        return results
    if connection.info.transaction_status == pq.TransactionStatus.INERROR:
        connection.rollback()
    raise error_from_result(failed, connection.info.encoding)


def _direct(connection: BoundedConnection, steps: Sequence[Step]) -> list[PGresult]:
    """Send each step with a synchronisation of its own, which ends its transaction, after what it needs prepared."""
    sending = connection.pgconn
    unprepared = {
        step.statement.name: step.statement for step in steps if step.statement.name not in connection.prepared
    }
    for name, statement in unprepared.items():
        sending.send_prepare(name.encode(), statement.text)
        sending.pipeline_sync()
    for step in steps:
        sending.send_query_prepared(
            step.statement.name.encode(), step.parameters, _formats(step.parameters), result_format=_BINARY
        )
        sending.pipeline_sync()
    results = connection.wait(_answers(sending, len(unprepared) + len(steps)))
    prepared = zip(unprepared, results, strict=False)
    connection.prepared.update(name for name, result in prepared if result.status not in _FAILED)
    failed = [result for result in results[: len(unprepared)] if result.status in _FAILED]
    return failed or results[len(unprepared) :]


def _pooled(connection: BoundedConnection, steps: Sequence[Step]) -> list[PGresult]:
    """Send the steps in transactions that are spelled out, with one synchronisation after all of them."""
    sending = connection.pgconn
    for step in steps:
        sending.send_query_params(b"BEGIN", None)
        sending.send_query_params(connection.limits(), None)
        sending.send_query_params(
            step.statement.text, step.parameters, None, _formats(step.parameters), result_format=_BINARY
        )
        sending.send_query_params(b"COMMIT", None)
    sending.pipeline_sync()
    results = connection.wait(_answers(sending, 1))
    failed = [result for result in results if result.status in _FAILED]
    for limits in () if failed else results[1::4]:
        connection.require_epoch((limits.get_value(0, 0) or b"").decode())
    return failed or results[2::4]


def _formats(parameters: Sequence[bytes | None]) -> list[int]:
    return [_BINARY if isinstance(one, Array) else _TEXT for one in parameters]


def _answers(reading: PGconn, ends: int) -> PQGen[list[PGresult]]:
    """Send what is left to send, and return the result of each command up to the last synchronisation."""
    results: list[PGresult] = []
    unsent = reading.flush()
    while ends:
        while unsent or reading.is_busy():
            ready = yield Wait.RW if unsent else Wait.R
            if ready & Ready.R:
                reading.consume_input()
            if unsent:
                unsent = reading.flush()
        result = reading.get_result()
        if result is None:
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            ends -= 1
            continue
        if reading.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError("the connection was lost")
        results.append(result)
    return results
