"""A database whose commits wait for a standby that never comes, and ways to end such a wait without a confirmation.

Promises: while `unconfirming` lasts, no commit is confirmed. The wait of an append is ended at a random time, as asked;
any other wait (heartbeats, catching up) is cancelled at once, because it would hold locks that the append needs.
What PostgreSQL does then is what makes the disturbance: the commit is in its log and visible, and no standby has it.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

import psycopg

_WAITING = "SELECT pid, query LIKE '%%keyledger_append%%' FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_LOOK_S = 0.02
_LONGEST_S = 1.2  # an append gives up by itself after 1.5 s, which also ends its wait


class Ending(Enum):
    """How a wait ends: an operator or a timeout, an operator's hard way, or the kernel out of memory."""

    CANCEL = "cancelled"
    TERMINATE = "terminated"
    KILL = "killed"


class Ended:
    """How many waits of appends were ended."""

    def __init__(self) -> None:
        self.count = 0


def require_standby(url: str, name: str) -> None:
    """Make commits wait for a standby of this name, or for none; asks again while the server recovers from a kill."""
    reloaded = False
    while not reloaded:
        with suppress(psycopg.OperationalError), connected(url) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            reloaded = True


@contextmanager
def unconfirming(url: str, how: Ending, rng: random.Random) -> Iterator[Ended]:
    """Require a standby that never comes, and end the waits for it, while the block lasts."""
    require_standby(url, "away")
    try:
        with ending_waits(url, how, rng) as ended:
            _until_it_waits(url)
            yield ended
    finally:
        require_standby(url, "")


@contextmanager
def ending_waits(url: str, how: Ending, rng: random.Random) -> Iterator[Ended]:
    """End waits for a standby, in a thread of its own, while the block lasts; gives the number of those of appends."""
    stop, ended = threading.Event(), Ended()
    work = threading.Thread(target=_end_waits, args=(url, how, rng, stop, ended), daemon=True)
    work.start()
    try:
        yield ended
    finally:
        stop.set()
        work.join()


def _until_it_waits(url: str) -> None:
    """Commit until one has to wait: the server reads its settings a little later than it is asked to."""
    warnings: list[object] = []
    while not warnings:
        with connected(url) as connection:
            connection.add_notice_handler(warnings.append)
            connection.execute("SET synchronous_commit = on")
            connection.execute("SELECT pg_logical_emit_message(true, 'keyledger', 'a probe')")


@contextmanager
def connected(url: str) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """A connection that waits for no standby, made as soon as the server accepts one."""
    while (connection := _connect(url)) is None:
        time.sleep(_LOOK_S)
    with connection:
        yield connection


def _connect(url: str) -> "psycopg.Connection[tuple[Any, ...]] | None":
    """Connect; None while the server recovers from a killed process."""
    with suppress(psycopg.OperationalError):
        return psycopg.connect(url, autocommit=True, options="-c synchronous_commit=local")
    return None


def _end_waits(url: str, how: Ending, rng: random.Random, stop: threading.Event, ended: Ended) -> None:
    while not stop.is_set():
        with suppress(psycopg.OperationalError), connected(url) as connection:
            while not stop.wait(_LOOK_S):
                for pid, appends in connection.execute(_WAITING).fetchall():
                    if not appends:
                        connection.execute("SELECT pg_cancel_backend(%s)", [pid])
                    elif not stop.wait(rng.uniform(0, _LONGEST_S)):
                        ended.count += 1
                        _end(connection, pid, how)


def _end(connection: "psycopg.Connection[tuple[Any, ...]]", pid: int, how: Ending) -> None:
    match how:
        case Ending.CANCEL:
            connection.execute("SELECT pg_cancel_backend(%s)", [pid])
        case Ending.TERMINATE:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        case Ending.KILL:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
