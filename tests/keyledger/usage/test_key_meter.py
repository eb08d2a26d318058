"""Requests of access keys are counted by hour, and kept while the database does not answer."""

import asyncio
from datetime import timedelta

import pytest

from domain.access.key_usage import KeyHour, KeyHours
from domain.errors import StoreUnavailableError
from keyledger.usage import key_meter
from keyledger.usage.key_meter import KeyMeter
from projections.usage.access_key_usage import PostgresKeyUsage
from tests.support.scenario import NOW
from tests.support.store import Store
from tests.support.twins.key_usage import MemoryKeyUsage

HOUR = timedelta(hours=1)
BEGIN = NOW.replace(minute=0, second=0, microsecond=0)


class Counted:
    """A meter on records in memory, with a clock to set."""

    def __init__(self, stored: MemoryKeyUsage | PostgresKeyUsage | None = None) -> None:
        self.now = BEGIN
        self.stored = stored or MemoryKeyUsage()
        self.meter = KeyMeter(self.stored, lambda: self.now)

    def use(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            self.meter.used(name)
            self.now += timedelta(seconds=1)


@pytest.mark.parametrize("kind", ["memory", "database"])
def test_requests_are_counted_by_hour_and_added_to_what_others_counted(kind: str, store: Store) -> None:
    counted = Counted(PostgresKeyUsage(store.pool) if kind == "database" else None)
    other = KeyMeter(counted.stored, lambda: BEGIN + timedelta(minutes=30))
    counted.use("app", 3)
    counted.now = BEGIN + HOUR
    counted.use("app")
    other.used("app")
    other.used("job")
    other.flush()
    assert counted.meter.last_used(["app", "job", "none"]) == {
        "app": BEGIN + HOUR,
        "job": BEGIN + timedelta(minutes=30),
    }
    assert counted.meter.hours(KeyHours("app")) == [
        KeyHour("app", BEGIN, 4, BEGIN + timedelta(minutes=30)),
        KeyHour("app", BEGIN + HOUR, 1, BEGIN + HOUR),
    ]
    for wanted, requests in (
        (KeyHours("app", since=BEGIN + HOUR), [1]),
        (KeyHours("app", until=BEGIN + HOUR), [4]),
        (KeyHours("app", limit=1), [4]),
        (KeyHours("none"), []),
    ):
        assert [one.requests for one in counted.meter.hours(wanted)] == requests


def test_what_could_not_be_stored_is_kept_and_nothing_is_stored_twice() -> None:
    stored = MemoryKeyUsage()
    counted = Counted(stored)
    counted.use("app", 2)
    stored.down = True
    with pytest.raises(StoreUnavailableError):
        counted.meter.flush()
    counted.use("app")
    stored.down = False
    counted.meter.flush()
    counted.meter.flush()
    assert [one.requests for one in stored.hours(KeyHours("app"))] == [3]


def test_no_more_keys_are_counted_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_meter, "ENTRIES", 2)
    counted = Counted()
    for name in ("a", "b", "c", "a"):
        counted.use(name)
    assert set(counted.meter.last_used(["a", "b", "c"])) == {"a", "b"}


def test_an_orderly_stop_stores_everything() -> None:
    counted = Counted()

    async def life() -> None:
        await counted.meter.start()
        counted.use("app")
        await counted.meter.stop()

    asyncio.run(life())
    assert counted.stored.last_used(["app"]) == {"app": BEGIN}
