"""The use of access keys in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.access.key_usage import KeyHour, KeyHours
from domain.errors import StoreUnavailableError


class MemoryKeyUsage:
    """Implements `keyledger.usage.key_meter.Additions` on a dictionary. down: nothing answers."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, datetime], KeyHour] = {}
        self.down = False

    def add(self, records: Sequence[KeyHour]) -> None:
        self._answer()
        for one in records:
            known = self.records.get((one.name, one.hour), KeyHour(one.name, one.hour, 0, one.last_used_at))
            last = max(known.last_used_at, one.last_used_at)
            self.records[one.name, one.hour] = KeyHour(one.name, one.hour, known.requests + one.requests, last)

    def last_used(self, names: Sequence[str]) -> Mapping[str, datetime]:
        self._answer()
        used = sorted(self.records.values(), key=lambda one: one.hour)
        return {one.name: one.last_used_at for one in used if one.name in names}

    def hours(self, wanted: KeyHours) -> Sequence[KeyHour]:
        self._answer()
        found = [
            one
            for one in sorted(self.records.values(), key=lambda one: one.hour)
            if one.name == wanted.name
            and (wanted.since is None or one.hour >= wanted.since)
            and (wanted.until is None or one.hour < wanted.until)
        ]
        return found[: wanted.limit]

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailableError
