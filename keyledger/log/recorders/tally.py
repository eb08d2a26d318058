"""Counts what one caller did, by kind, and decides when a count becomes a record of the log.

Promises: the first request of a kind becomes a record at once; more of that kind are counted, and each count becomes
one record when `window` has passed since the last one. Kinds beyond the quota are merged: a merged record holds what
all its requests have in common, and counts them. A count for which the hour has no room left waits, at most until the
end; the one that has waited longest comes first. In any hour a caller adds at most `first` + `again` + `merged`
records, and at the end one more for each merged kind; memory holds at most `first` kinds.
Not thread-safe.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, Self
from uuid import uuid4

from domain.audit.client_network import common_client
from domain.events.event import CommandMeta, Event

HOUR = timedelta(hours=1)

_NEVER = datetime.min.replace(tzinfo=UTC)


class Facts(Protocol):
    """The facts about a request that its record holds."""

    def merged(self, other: Any) -> Self:
        """Return what both have in common."""
        ...

    def event(self, meta: CommandMeta, now: datetime, count: int) -> Event:
        """Return the record of `count` such requests."""
        ...


@dataclass(frozen=True, slots=True)
class Quota:
    """Records that one caller may add within an hour.

    first: those that name a new kind, and the kinds that are known at a time. again: those that count more of a known
    kind. merged: those that count kinds beyond. window, merged_window: the shortest time between two records of one
    kind. apart: the values, such as tenants, by which each merged kind is kept apart; any more of them share one.
    of_a_client: the kinds that one address or network may have; None for any number.
    """

    first: int
    again: int
    merged: int
    window: timedelta
    merged_window: timedelta
    apart: int = 0
    of_a_client: int | None = None


class Beyond(NamedTuple):
    """The kind that requests are merged into where there is no room for a record of their own.

    apart: a value by which this kind is kept apart, for the first `Quota.apart` values; None for none.
    """

    kind: Hashable
    apart: Hashable = None


@dataclass(slots=True)
class _Kind:
    """Requests of one kind. count: those without a record; meta, facts: what they have in common."""

    meta: CommandMeta
    facts: Facts
    beyond: Beyond
    count: int = 0
    recorded_at: datetime | None = None

    def add(self, meta: CommandMeta, facts: Facts, count: int = 1) -> None:
        if not self.count:
            self.meta, self.facts = meta, facts
        else:
            self.facts = self.facts.merged(facts)
            if meta.client_address != self.meta.client_address:
                address = common_client(self.meta.client_address, meta.client_address)
                self.meta = replace(self.meta, client_address=address)
        self.count += count

    def rests(self, now: datetime, window: timedelta) -> bool:
        """Whether the last record is younger than `window`. A clock that was set back ends the rest."""
        return self.recorded_at is not None and timedelta() <= now - self.recorded_at < window

    def record(self, now: datetime) -> Event:
        count, self.count, self.recorded_at = self.count, 0, now
        return self.facts.event(replace(self.meta, command_id=str(uuid4())), now, count)


class _Room:
    """Room for a number of records in any hour."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: deque[datetime] = deque()

    def left(self, now: datetime) -> int:
        while self._taken and not timedelta() <= now - self._taken[0] < HOUR:
            self._taken.popleft()
        return self._limit - len(self._taken)

    def take(self, now: datetime) -> bool:
        if self.left(now) < 1:
            return False
        self._taken.append(now)
        return True


class Tally:
    """The counts of one caller."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._kinds: dict[tuple[Hashable, ...], _Kind] = {}
        self._merged: dict[Beyond, _Kind] = {}
        self._apart: Counter[Hashable] = Counter()
        self._new = 0
        self._first, self._again, self._beyond = _Room(quota.first), _Room(quota.again), _Room(quota.merged)

    def note(self, key: tuple[Hashable, ...], beyond: Beyond, meta: CommandMeta, facts: Facts, now: datetime) -> bool:
        """Count one more request of a kind. Return whether its record is due at once.

        key: of the kind, with the client first.
        """
        kind, window = self._kinds.get(key), self._quota.window
        if kind is None and self._has_room_for(key, now):
            kind = self._kinds[key] = _Kind(meta, facts, beyond)
            self._new += 1
        elif kind is None or not self._may_continue(kind, now):
            kind, window = self._merged_kind(beyond, meta, facts), self._quota.merged_window
        kind.add(meta, facts)
        return not kind.rests(now, window)

    def records(self, now: datetime) -> Iterator[Event]:
        """Yield the records that are due, and forget kinds without a request for an hour."""
        self._forget(now)
        for kind in _longest_first(self._kinds.values()):
            if kind.count and not kind.rests(now, self._quota.window):
                new = kind.recorded_at is None
                if (self._first if new else self._again).take(now):
                    self._new -= new
                    yield kind.record(now)
        for kind in _longest_first(self._merged.values()):
            if kind.count and not kind.rests(now, self._quota.merged_window) and self._beyond.take(now):
                yield kind.record(now)

    def last_records(self, now: datetime) -> Iterator[Event]:
        """Yield records of everything counted, whether due or not; kinds that the quota has no room for are merged."""
        for kind in self._kinds.values():
            if kind.count and (self._first if kind.recorded_at is None else self._again).take(now):
                yield kind.record(now)
            elif kind.count:
                self._merged_kind(kind.beyond, kind.meta, kind.facts).add(kind.meta, kind.facts, kind.count)
                kind.count = 0
        for kind in self._merged.values():
            if kind.count:
                yield kind.record(now)

    def is_idle(self) -> bool:
        """Whether nothing is known any more."""
        return not self._kinds and not self._merged

    def _has_room_for(self, key: tuple[Hashable, ...], now: datetime) -> bool:
        if len(self._kinds) >= self._quota.first or self._first.left(now) <= self._new:
            return False
        of_a_client = self._quota.of_a_client
        return of_a_client is None or sum(known[0] == key[0] for known in self._kinds) < of_a_client

    def _may_continue(self, kind: _Kind, now: datetime) -> bool:
        return kind.recorded_at is None or kind.rests(now, self._quota.window) or self._again.left(now) > 0

    def _merged_kind(self, beyond: Beyond, meta: CommandMeta, facts: Facts) -> _Kind:
        if beyond not in self._merged and self._apart[beyond.kind] >= self._quota.apart:
            beyond = Beyond(beyond.kind)
        kind = self._merged.get(beyond)
        if kind is None:
            kind = self._merged[beyond] = _Kind(meta, facts, beyond)
            self._apart[beyond.kind] += beyond.apart is not None
        return kind

    def _forget(self, now: datetime) -> None:
        self._kinds = {key: kind for key, kind in self._kinds.items() if kind.count or kind.rests(now, HOUR)}
        self._merged = {key: kind for key, kind in self._merged.items() if kind.count or kind.rests(now, HOUR)}
        self._apart = Counter(beyond.kind for beyond in self._merged if beyond.apart is not None)


def _longest_first(kinds: Iterable[_Kind]) -> list[_Kind]:
    """Return the kinds in the order of their last records, those without one first."""
    return sorted(kinds, key=lambda kind: kind.recorded_at or _NEVER)
