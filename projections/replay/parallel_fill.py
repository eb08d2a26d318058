"""Fills a copy of a projection in several processes, each with a range of positions.

Promises: the rows are those a single process would write. Each range is one transaction, into a table that nothing else
reads. Memory is bounded by one batch per process. If a process is lost, one process fills the whole table again. If the
parent process is gone, its workers end after their batch.
"""

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing.sharedctypes import Synchronized
from typing import ClassVar

from domain.errors import CredentialIntegrityError
from domain.proofs.tiles import TILE_WIDTH
from projections.catch_up import Appended, read_all
from projections.database.connections import Connection, connect, unavailable

BATCH = 8 * TILE_WIDTH
"""Events in a batch: whole tiles of the tree, few enough to stay in the processor's cache."""
STREAMS_REMEMBERED = 100_000
WORKERS = min(4, os.cpu_count() or 1)
WORTHWHILE = 50_000
"""Events from which several processes are faster: starting one takes a third of a second."""

_LOOK_S = 0.2

Progress = Callable[[int, int], None]
Write = Callable[[Connection, Sequence[Appended], str, MutableMapping[int, str] | None], None]
"""write(connection, batch, table, last): adds the rows of a batch. last: topics by stream, see `audit_trail.write`.

It must be a module-level function, so that other processes can import it.
"""


def fill(write: Write, dsn: str, connection: Connection, table: str, upto: int, progress: Progress) -> int:
    """Write the rows of the events up to a position into an empty table, and return the number of events.

    Raises CredentialIntegrityError, StoreUnavailableError, and what `progress` raises.
    """
    if upto >= WORTHWHILE and WORKERS > 1:
        try:
            return _by_several(write, dsn, table, upto, progress)
        except BrokenProcessPool:
            connection.execute(b"TRUNCATE " + table.encode())  # rows of finished ranges; the name is a constant
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, upto)

    with connection.transaction():
        _write_range(write, connection, table, 0, upto, advance)
    return done


def _by_several(write: Write, dsn: str, table: str, upto: int, progress: Progress) -> int:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    ends = [*(upto * nth // WORKERS // BATCH * BATCH for nth in range(WORKERS)), upto]
    with ProcessPoolExecutor(WORKERS, context, _Worker.begin, (counter, os.getpid())) as pool:
        running = {pool.submit(_Worker.fill, write, dsn, table, after, end) for after, end in pairwise(ends)}
        try:
            while running:
                finished, running = wait(running, _LOOK_S)
                for one in finished:
                    if (reason := one.result()) is not None:
                        raise CredentialIntegrityError(reason)
                progress(counter.value, upto)
        except BaseException:
            counter.value = _Worker.STOP
            raise
    return int(counter.value)


def _write_range(
    write: Write, connection: Connection, table: str, after: int, upto: int, advance: Callable[[int], None]
) -> None:
    last: dict[int, str] = {}
    for batch in read_all(connection, after, BATCH, upto):
        if len(last) > STREAMS_REMEMBERED:
            last.clear()
        write(connection, batch, table, last)
        advance(len(batch))


class _Worker:
    """The work of one process."""

    STOP: ClassVar[int] = -(2**62)
    counter: ClassVar["Synchronized[int]"]
    asked_by: ClassVar[int]

    @classmethod
    def begin(cls, counter: "Synchronized[int]", asked_by: int) -> None:
        """Prepare the process. Ctrl-C reaches every process of a terminal; the parent decides what to do."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.freeze()
        gc.set_threshold(
            100_000, 50, 100
        )  # events hold no cycles, and the search for cycles takes a quarter of the time
        cls.counter, cls.asked_by = counter, asked_by

    @classmethod
    def fill(cls, write: Write, dsn: str, table: str, after: int, upto: int) -> str | None:
        """Write one range. Return the reason if an event cannot be read: our exceptions do not survive pickling."""
        try:
            with connect(dsn) as connection, unavailable(), connection.transaction():
                _write_range(write, connection, table, after, upto, cls._advance)
        except CredentialIntegrityError as error:
            return error.reason
        except CancelledError:
            return None
        return None

    @classmethod
    def _advance(cls, count: int) -> None:
        with cls.counter.get_lock():
            cls.counter.value += count
            stopped = cls.counter.value < 0
        if stopped or os.getppid() != cls.asked_by:
            raise CancelledError
