"""A replay that auditors can read about: what came of it is an event of the log.

Promises: a replay that was to change the live view is recorded, whether it did or found a difference and left it. One
that only compares changes nothing and is not recorded. The event needs no encryption key, as the replay does not.
"""

from datetime import datetime

from domain.event import Clock, CommandMeta
from domain.event_log import EventLog
from domain.operations.replay import ReplayResult, Swap, projection_replayed
from projections.replay.replayable import Progress
from projections.replay.replaying import replay_projection


def recorded_replay(
    dsn: str,
    log: EventLog,
    projection: str,
    progress: Progress,
    *,
    swap: Swap,
    until: int | datetime | None = None,
    meta: CommandMeta,
    clock: Clock,
) -> ReplayResult:
    """Replay a view as `replay_projection` does and record it. Raises what that raises, StoreUnavailableError."""
    result = replay_projection(dsn, projection, progress, swap=swap, until=until)
    if until is None and swap is not Swap.NEVER:
        event = projection_replayed(
            meta,
            clock(),
            projection,
            swapped=result.swapped,
            replayed_to=result.position,
            rows=result.rows,
            differences=result.difference_count,
        )
        log.append([event])
    return result
