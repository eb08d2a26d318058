"""Projections and their replay in memory."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from domain.events.event import Clock, CommandMeta
from domain.operations.replay import (
    Difference,
    ProjectionStatus,
    ReplayResult,
    ReplayState,
    ReplayStatus,
    Swap,
    replay_conflict,
    replay_not_found,
    unknown_projection,
)


class MemoryProjections:
    """Implements `domain.operations.replay.Projections`.

    A replay completes as it starts, unless `held`. stopped: what stops the audit trail. differences: what each replay
    finds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.held = False
        self.stopped: str | None = None
        self.differences: tuple[Difference, ...] = ()
        self.found: dict[str, ReplayStatus] = {}
        self._begun: dict[tuple[str, str], str] = {}

    def list(self) -> Sequence[ProjectionStatus]:
        return [
            ProjectionStatus("current_credentials", 5, 5, 2, None),
            ProjectionStatus("access_keys", 5, 5, 1, None),
            ProjectionStatus("tenants", 5, 5, 1, None),
            ProjectionStatus("audit_trail", 3, 5, 3, self.stopped),
            ProjectionStatus("transparency_log", 5, 5, 1, None),
        ]

    def start(self, projection: str, swap: Swap, meta: CommandMeta) -> ReplayStatus:
        self._require(projection)
        if meta.may_repeat and (projection, meta.command_id) in self._begun:
            return self.found[self._begun[projection, meta.command_id]]
        if any(one.state is ReplayState.RUNNING for one in self.found.values()):
            raise replay_conflict("A replay is running.")
        now, replay_id, count = self._clock(), str(uuid4()), len(self.differences)
        begun = ReplayStatus(
            replay_id, projection, meta.actor, swap, ReplayState.RUNNING, 2, 5, None, None, now, now, None
        )
        swapped = swap is Swap.ALWAYS or (swap is Swap.IF_EQUAL and not count)
        result = ReplayResult(projection, 5, 5, 2, count, self.differences, swapped, 0.5)
        ended = replace(begun, state=ReplayState.COMPLETED, done=5, result=result, finished_at=now)
        self.found[replay_id] = begun if self.held else ended
        self._begun[projection, meta.command_id] = replay_id
        return self.found[replay_id]

    def replay(self, projection: str, replay_id: str) -> ReplayStatus:
        self._require(projection)
        if replay_id not in self.found or self.found[replay_id].projection != projection:
            raise replay_not_found()
        return self.found[replay_id]

    def _require(self, projection: str) -> None:
        known = [status.name for status in self.list()]
        if projection not in known:
            raise unknown_projection(known)
