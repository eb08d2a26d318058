"""Replay: compute a view again from the log beside the live one, compare the two, and put the new one in its place.

Promises: reads and writes go on meanwhile and never see a half-built view; no token is opened, so it works without any
encryption key; the comparison is exact, made in one snapshot. A copy that differs does not become the live view unless
that was asked for. A crash at any point leaves the live view as it was; the next replay removes what is left of an
unfinished copy.
Refuses: two replays of one view at once, an event it does not understand.
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
from projections.position_at import position_at
from projections.replay import shadow_table
from projections.replay.comparison import SHOWN_DIFFERENCES, differences
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
    """Replay a view, compare it with the live one, and put it in its place where `swap` says so.

    until: replay only up to this position, or to the last event of this time, to see how it differs from now. Such a
    copy is never swapped.
    Raises NotFoundError, ConflictError, StoreUnavailableError, CredentialIntegrityError; what `progress`
    raises ends the replay.
    """
    view = projection_named(projection)
    started = time.monotonic()
    with (
        connect(dsn) as connection,
        unavailable(),
        shadow_table.new_shadow(dsn, connection, projection) as (table, held),
    ):
        upto = _end(connection, until)
        events = view.fill(dsn, connection, table, upto, progress)
        with connection.transaction():
            shadow_table.add_key(connection, projection)
        may_swap = until is None and swap is not Swap.NEVER
        with shadow_table.other_indexes(dsn, connection, projection) if may_swap else nullcontext() as indexed:
            if view.follows:
                _follow_live(connection, view, _end(connection, None))
            position, count, shown = _compare(connection, view, table, upto, until is not None)
            row = connection.execute(f"SELECT count(*) AS n FROM {table}".encode()).fetchone()  # noqa: S608  ours
            swaps = may_swap and (swap is Swap.ALWAYS or count == 0)
            if indexed is not None and swaps:
                indexed()
        if swaps:
            _swap(connection, view, table, position, held)
    rows = row["n"] if row else 0
    return ReplayResult(projection, position, events, rows, count, shown, swaps, time.monotonic() - started)


def compare(dsn: str, projection: str, progress: Progress = lambda done, total: None) -> ReplayResult:
    """Replay a view beside the live one, compare them and throw the copy away. Raises as `replay_projection` does."""
    return replay_projection(dsn, projection, progress, swap=Swap.NEVER)


def _end(connection: Connection, until: int | datetime | None) -> int:
    row = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
    head = row["head"] if row else 0
    if isinstance(until, datetime):
        return position_at(connection, head, until)
    return head if until is None else min(until, head)


def _follow_live(connection: Connection, view: Projection, upto: int) -> None:
    """Bring a live view that follows the log at least to `upto`, so that being late is no difference."""
    reached = -1
    while reached < upto:
        try:
            with connection.transaction():
                lock(connection, view.name)
                before = position_of(connection, view.name)
                reached = extend(connection, view, view.name, before, min(before + BATCH, upto))
                set_position(connection, view.name, max(reached, before))
        except (psycopg.IntegrityError, CredentialIntegrityError):
            return  # its position is not that of its rows, or they are damaged; the comparison tells
        if reached <= before:
            return


def _compare(
    connection: Connection, view: Projection, table: str, position: int, only_until: bool
) -> tuple[int, int, tuple[Difference, ...]]:
    """Compare at the position that the live view has in one snapshot, to which the copy is brought first."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if not only_until:
            upto = position_of(connection, view.name) if view.follows else END
            position = extend(connection, view, table, position, upto)
        return position, *differences(connection, view.name, table, view.key, view.columns, view.naming)


def _swap(connection: Connection, view: Projection, table: str, position: int, held: Callable[[], object]) -> None:
    """Bring the copy near the head while others work, then to the head while they wait, and exchange the tables."""
    for _ in range(_ROUNDS):
        with connection.transaction():
            reached = extend(connection, view, table, position, END)
        moved, position = reached - position, reached
        if moved < BATCH // 50:
            break

    def complete() -> None:
        if view.follows:
            lock(connection, view.name)
        else:
            connection.execute("SELECT keyledger_lock_log()")
        reached = extend(connection, view, table, position, END)
        if view.follows:
            set_position(connection, view.name, reached)
        held()

    shadow_table.swap(connection, view.name, complete)
