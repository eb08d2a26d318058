"""A replay whose outcome is logged for auditors.

Promises: a replay that may swap the live projection is logged, whether it swapped it or found differences and kept it.
One that only compares is not logged, nor is one without a key where every event needs a code.
"""

from datetime import datetime

from domain.events.event import Clock, CommandMeta
from domain.events.event_log import EventLog
from domain.operations.replay import ReplayResult, Swap, projection_replayed
from projections.replay.replayable import Progress
from projections.replay.replaying import replay_projection


def recorded_replay(
    dsn: str,
    log: EventLog | None,
    projection: str,
    progress: Progress,
    *,
    swap: Swap,
    until: int | datetime | None = None,
    meta: CommandMeta,
    clock: Clock,
) -> ReplayResult:
    """Replay a projection as `replay_projection` does, and log it. Raises what that raises.

    log: None where there is no key that authenticates events, but the log has codes.
    """
    result = replay_projection(dsn, projection, progress, swap=swap, until=until)
    if log is not None and until is None and swap is not Swap.NEVER:
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
