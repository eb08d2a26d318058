"""Replay: compute a copy of a projection from the log, compare it with the live one, and swap it in.

Promises: reads and writes continue meanwhile and never see a half-built copy. No token is opened, so no encryption key
is needed. The comparison is exact and made in one snapshot. A copy that differs is swapped in only on request. A crash
at any point leaves the live projection as it was; the next replay removes the unfinished copy.
Refuses: two replays of one projection at once, an event that cannot be read.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

import psycopg

from domain.errors import CredentialIntegrityError
from domain.operations.replay import Difference, ReplayResult, Swap
from projections.catch_up import END, lock, position_of, set_position
from projections.database.connections import Connection, connect, unavailable
from projections.replay import shadow_table
from projections.replay.comparison import SHOWN_DIFFERENCES, differences
from projections.replay.position_at import position_at
from projections.replay.replayable import BATCH, PROJECTIONS, Progress, Projection, extend, projection_named

__all__ = [
    "PROJECTIONS",
    "SHOWN_DIFFERENCES",
    "Difference",
    "Progress",
    "ReplayResult",
    "Swap",
    "compare",
    "replay_projection",
]

_ROUNDS = 10


def replay_projection(
    dsn: str,
    projection: str,
    progress: Progress = lambda done, total: None,
    *,
    swap: Swap = Swap.IF_EQUAL,
    until: int | datetime | None = None,
) -> ReplayResult:
    """Replay a projection, compare the copy with the live one, and swap it in where `swap` says so.

    until: replay only up to this position, or to the log as it was at this time, to see how it differs from now. Such
    a copy is never swapped in.
    Raises NotFoundError, ConflictError, StoreUnavailableError, CredentialIntegrityError; what `progress`
    raises ends the replay.
    """
    target = projection_named(projection)
    started = time.monotonic()
    with (
        connect(dsn) as connection,
        unavailable(),
        shadow_table.new_shadow(dsn, connection, projection) as (table, held),
    ):
        upto = _end(connection, until)
        events = target.fill(dsn, connection, table, upto, progress)
        with connection.transaction():
            shadow_table.add_key(connection, projection)
        may_swap = until is None and swap is not Swap.NEVER
        with shadow_table.other_indexes(dsn, connection, projection) if may_swap else nullcontext() as indexed:
            if target.follows:
                _follow_live(connection, target, _end(connection, None))
            position, count, shown = _compare(connection, target, table, upto, until is not None)
            row = connection.execute(f"SELECT count(*) AS n FROM {table}".encode()).fetchone()  # noqa: S608  ours
            swaps = may_swap and (swap is Swap.ALWAYS or count == 0)
            if indexed is not None and swaps:
                indexed()
        if swaps:
            _swap(connection, target, table, position, held)
    rows = row["n"] if row else 0
    return ReplayResult(projection, position, events, rows, count, shown, swaps, time.monotonic() - started)


def compare(dsn: str, projection: str, progress: Progress = lambda done, total: None) -> ReplayResult:
    """Replay a projection, compare the copy with the live one and drop it. Raises as `replay_projection` does."""
    return replay_projection(dsn, projection, progress, swap=Swap.NEVER)


def _end(connection: Connection, until: int | datetime | None) -> int:
    row = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
    head = row["head"] if row else 0
    if isinstance(until, datetime):
        return position_at(connection, head, until)
    return head if until is None else min(until, head)


def _follow_live(connection: Connection, target: Projection, upto: int) -> None:
    """Bring a live projection that follows the log at least to `upto`, so that lag does not count as a difference."""
    reached = -1
    while reached < upto:
        try:
            with connection.transaction():
                lock(connection, target.name)
                before = position_of(connection, target.name)
                reached = extend(connection, target, target.name, before, min(before + BATCH, upto))
                set_position(connection, target.name, max(reached, before))
        except (psycopg.IntegrityError, CredentialIntegrityError):
            return  # its position does not match its rows, or they are damaged; the comparison reports it
        if reached <= before:
            return


def _compare(
    connection: Connection, target: Projection, table: str, position: int, only_until: bool
) -> tuple[int, int, tuple[Difference, ...]]:
    """Bring the copy to the position of the live projection and compare the two, in one snapshot."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if not only_until:
            upto = position_of(connection, target.name) if target.follows else END
            position = extend(connection, target, table, position, upto)
        return position, *differences(connection, target.name, table, target.key, target.columns, target.naming)


def _swap(connection: Connection, target: Projection, table: str, position: int, held: Callable[[], object]) -> None:
    """Bring the copy near the head while writers continue, then to the head while they wait, and swap the tables."""
    for _ in range(_ROUNDS):
        with connection.transaction():
            reached = extend(connection, target, table, position, END)
        moved, position = reached - position, reached
        if moved < BATCH // 50:
            break

    def complete() -> None:
        if target.follows:
            lock(connection, target.name)
        else:
            connection.execute("SELECT keyledger_lock_log()")
        reached = extend(connection, target, table, position, END)
        if target.follows:
            set_position(connection, target.name, reached)
        held()

    shadow_table.swap(connection, target.name, complete)
