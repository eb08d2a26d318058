"""The access keys in memory."""

from collections.abc import Sequence
from uuid import UUID

from domain.access.access_key import AccessKey, AccessKeyEvent, evolve
from tests.support.twins.log import MemoryLog


class MemoryAccessKeys:
    """Implements `domain.access.service.AccessKeyList` on a log."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def by_id(self, key_id: UUID) -> AccessKey | None:
        last = self._log.last(key_id)
        return evolve(last) if isinstance(last, AccessKeyEvent) else None

    def by_digest(self, digest: str) -> AccessKey | None:
        return next((key for key in self._all() if digest in {key.digest, key.previous}), None)

    def page(self, after: str, limit: int) -> Sequence[AccessKey]:
        return [key for key in self._all() if key.name > after][:limit]

    def _all(self) -> list[AccessKey]:
        self._log.answer()
        newest = {event.originator_id: event for event in self._log.events if isinstance(event, AccessKeyEvent)}
        return sorted(map(evolve, newest.values()), key=lambda key: key.name)
