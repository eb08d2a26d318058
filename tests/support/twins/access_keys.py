"""The access keys in memory."""

from collections.abc import Sequence
from uuid import UUID

from domain.access.access_key import AccessKey, AccessKeyEvent, evolve
from domain.access.admission import KeyReader
from domain.credentials.admission import TokenRow
from domain.event_codec import encode, event_of
from domain.events.event import Clock
from domain.events.event_code import CodeKey, EventCodes, LogRow
from tests.support.twins.log import MemoryLog

CODES = EventCodes(UUID(int=1), [CodeKey("k0000000001", b"1" * 32)])


class MemoryAccessKeys:
    """Implements `domain.access.service.AccessKeyList` on a log, and reads tokens. reads: how many there were."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.reads = 0

    def by_id(self, key_id: UUID) -> AccessKey | None:
        last = self._log.last(key_id)
        return evolve(last) if isinstance(last, AccessKeyEvent) else None

    def by_digest(self, digest: str) -> AccessKey | None:
        found = self._event(digest)
        return evolve(found) if found is not None else None

    def page(self, after: str, limit: int) -> Sequence[AccessKey]:
        keys = sorted(map(evolve, self._newest()), key=lambda key: key.name)
        return [key for key in keys if key.name > after][:limit]

    async def read(self, digest: str) -> TokenRow | None:
        """Return what a database would have of a token, with the code of the event."""
        self.reads += 1
        event = self._event(digest)
        if event is None:
            return None
        place = (event.originator_id, event.originator_version, event.TOPIC, encode(event))
        code = CODES.code(*place)
        assert code is not None
        head = LogRow(1, *place, code.key_id, code.mac)
        return TokenRow(event.originator_version, event.token_sha256, event.previous_sha256, head)

    def reader(self, clock: Clock) -> KeyReader:
        """Return what reads keys from such rows."""
        return KeyReader(lambda: CODES, event_of, clock)

    def _event(self, digest: str) -> AccessKeyEvent | None:
        found = (one for one in self._newest() if digest in {one.token_sha256, one.previous_sha256})
        return next(found, None)

    def _newest(self) -> Sequence[AccessKeyEvent]:
        self._log.answer()
        found = {event.originator_id: event for event in self._log.events if isinstance(event, AccessKeyEvent)}
        return list(found.values())
