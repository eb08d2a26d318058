"""Appends that are combined are as separate and as durable as appends one by one."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.credential import CredentialDeleted, stream_id
from domain.errors import StoreUnavailable, VersionConflict
from domain.event import Event
from keyledger import combined_appends
from keyledger.combined_appends import CombinedAppends
from projections.rebuild import compare
from tests.support.store import Store

WAIT_S = 20


class GatedLog:
    """A log in memory; each append waits for its turn, so that others gather behind it."""

    def __init__(self) -> None:
        self.stored: list[tuple[UUID, int]] = []
        self.calls: list[int] = []
        self.down = False
        self.entered, self._gate = threading.Semaphore(0), threading.Semaphore(0)

    def last(self, stream: UUID) -> Event | None:
        return None

    def find(self, stream: UUID, command_id: str) -> Event | None:
        return None

    def append(self, events: Sequence[Event]) -> None:
        self.calls.append(len(events))
        self.entered.release()
        assert self._gate.acquire(timeout=WAIT_S)
        if self.down:
            raise StoreUnavailable
        places = [(event.originator_id, event.originator_version) for event in events]
        if set(places) & set(self.stored):
            raise VersionConflict(1, precondition=False)
        self.stored += places

    def let_pass(self, calls: int) -> None:
        self._gate.release(calls)


class Writers:
    """Threads that append one event each; the first is on its way before the others come."""

    def __init__(self, log: GatedLog, *places: tuple[int, int]) -> None:
        self.log, self.combined = log, CombinedAppends(log)
        self.threads = ThreadPoolExecutor(len(places))
        self.futures: list[Future[None]] = [self._start(*places[0])]
        assert log.entered.acquire(timeout=WAIT_S)
        self.futures += [self._start(*place) for place in places[1:]]
        while len(self.combined._waiting) < len(places) - 1:
            pass

    def _start(self, tenant: int, version: int) -> Future[None]:
        return self.threads.submit(self.combined.append, [_event(tenant, version)])

    def outcomes(self) -> list[type[BaseException] | None]:
        faults = [future.exception(WAIT_S) for future in self.futures]
        self.threads.shutdown()
        return [type(fault) if fault else None for fault in faults]


def _event(tenant: int, version: int) -> CredentialDeleted:
    tenant_id = str(UUID(int=tenant, version=4))
    return CredentialDeleted(
        originator_id=stream_id(tenant_id, "openai"),
        originator_version=version,
        tenant_id=tenant_id,
        provider="openai",
        actor="test",
        request_id="request",
        command_id=f"command-{tenant}-{version}",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_what_gathers_behind_an_append_goes_together() -> None:
    writers = Writers(log := GatedLog(), *((tenant, 1) for tenant in range(1, 6)))
    log.let_pass(2)

    assert writers.outcomes() == [None] * 5
    assert log.calls == [1, 4]


def test_a_conflict_is_of_the_one_that_has_it() -> None:
    writers = Writers(log := GatedLog(), (1, 1), (2, 1), (1, 1), (3, 1))
    log.let_pass(10)

    assert writers.outcomes() == [None, None, VersionConflict, None]
    assert len(log.stored) == 3


def test_two_appends_to_one_stream_never_share_a_call() -> None:
    writers = Writers(log := GatedLog(), (1, 1), (2, 1), (2, 2), (3, 1))
    log.let_pass(10)

    assert writers.outcomes() == [None] * 4
    assert log.calls == [1, 2, 1]


def test_an_outage_ends_everything_that_waits_at_once_and_later_appends_are_tried_again() -> None:
    writers = Writers(log := GatedLog(), (1, 1), (2, 1), (3, 1))
    log.down = True
    log.let_pass(1)

    assert writers.outcomes() == [StoreUnavailable] * 3
    assert log.calls == [1]
    log.down = False
    log.let_pass(1)
    writers.combined.append([_event(4, 1)])
    assert len(log.stored) == 1


def test_who_waits_too_long_gives_up_and_was_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combined_appends, "PATIENCE", 0.01)
    log = GatedLog()
    with ThreadPoolExecutor(2) as threads:
        combined = CombinedAppends(log)
        first = threads.submit(combined.append, [_event(1, 1)])
        assert log.entered.acquire(timeout=WAIT_S)
        late = threads.submit(combined.append, [_event(2, 1)])
        assert isinstance(late.exception(WAIT_S), StoreUnavailable)
        log.let_pass(1)
        assert first.exception(WAIT_S) is None
    assert log.calls == [1]


def test_many_writers_on_a_real_log_leave_it_whole(store: Store) -> None:
    combined = CombinedAppends(store.log)
    with ThreadPoolExecutor(16) as threads:
        places = [(tenant, version) for version in (1, 1, 2) for tenant in range(1, 33)]
        for version in (1, 2):
            wanted = [place for place in places if place[1] == version]
            outcomes = list(threads.map(lambda place: _tried(combined, *place), wanted))
            assert outcomes.count(None) == 32
    assert compare(store.url, "current_credentials").difference_count == 0
    assert len(store.audit(limit=1000)) == 64


def _tried(combined: CombinedAppends, tenant: int, version: int) -> type[BaseException] | None:
    try:
        combined.append([_event(tenant, version)])
    except VersionConflict as conflict:
        return type(conflict)
    return None
