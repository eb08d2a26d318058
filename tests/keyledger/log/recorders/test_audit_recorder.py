"""Refused requests and reads are recorded once and within bounds, also through outages of the database."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from domain.audit.request_events import (
    AddressLockedOut,
    AuditExported,
    AuditRead,
    Lockout,
    Outcome,
    RefusedRequest,
    RequestRefused,
)
from domain.errors import StoreUnavailableError
from domain.events.event import CommandMeta
from keyledger.log.recorders.audit_recorder import OF_OTHERS, OF_READS, OF_WRITES, UNCONFIRMED, AuditRecorder
from keyledger.log.recorders.tally import Quota
from tests.support.scenario import NOW
from tests.support.twins.log import MemoryLog

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(log: MemoryLog, clock: Clock) -> AuditRecorder:
    return AuditRecorder(log, clock)


def refuse(
    recorder: AuditRecorder,
    actor: str = "anna",
    code: str = "forbidden",
    address: str = "192.0.2.7",
    tenant: str | None = None,
    method: str = "PUT",
) -> None:
    meta = CommandMeta(actor, "req-1", "", role="auditor", source="api", client_address=address)
    facts = RefusedRequest(outcome=Outcome.DENIED, method=method, route="/r", status=403, code=code, tenant_id=tenant)
    recorder.refused(meta, facts)


def refused_events(log: MemoryLog, actor: str | None = None) -> list[RequestRefused]:
    found = [event for event in log.events if isinstance(event, RequestRefused)]
    return [event for event in found if actor in (None, event.actor)]


def counts(log: MemoryLog) -> list[int]:
    return [event.count for event in log.events if isinstance(event, RequestRefused | AuditRead | AddressLockedOut)]


def test_the_first_of_its_kind_is_stored_and_more_within_the_window_are_counted(
    log: MemoryLog, clock: Clock, recorder: AuditRecorder
) -> None:
    refuse(recorder)
    recorder.flush()
    for _ in range(5):
        refuse(recorder)
    recorder.flush()
    assert counts(log) == [1]
    clock.now += MINUTE
    recorder.flush()
    assert counts(log) == [1, 5]
    clock.now += MINUTE
    recorder.flush()
    refuse(recorder)
    recorder.flush()
    assert counts(log) == [1, 5, 1], "after a quiet window it is news again"


def test_different_callers_addresses_targets_and_reasons_are_told_apart(
    log: MemoryLog, recorder: AuditRecorder
) -> None:
    refuse(recorder)
    refuse(recorder, actor="bert")
    refuse(recorder, code="not-found")
    refuse(recorder, address="192.0.2.8")
    refuse(recorder, tenant="a")
    refuse(recorder, tenant="b")
    recorder.flush()
    assert counts(log) == [1] * 6
    assert len({event.originator_id for event in log.events}) == 6


@pytest.mark.parametrize(("method", "quota"), [("PUT", OF_WRITES), ("GET", OF_OTHERS)])
def test_one_caller_causes_a_bounded_number_of_events_and_its_first_targets_are_named(
    log: MemoryLog, clock: Clock, recorder: AuditRecorder, method: str, quota: Quota
) -> None:
    for minute in range(60):
        for number in range(100):
            refuse(recorder, tenant=f"tenant-{minute}-{number}", method=method)
            refuse(recorder, tenant="the same", method=method)
        recorder.flush()
        clock.now += MINUTE
    named = {event.tenant_id for event in refused_events(log)} - {None}
    assert len(named) >= quota.first + quota.apart
    assert len(log.events) <= quota.first + quota.again + quota.merged <= 600
    merged = [event for event in refused_events(log) if event.tenant_id is None]
    assert merged and all((event.actor, event.method, event.route) == ("anna", method, "/r") for event in merged)
    clock.now += HOUR
    recorder.flush()
    assert sum(counts(log)) == 60 * 200, "every one is counted"


WRITES = ["PUT", "POST", "PATCH", "DELETE"]
OTHERS = ["GET", "HEAD", "OPTIONS", "other"]


@pytest.mark.parametrize("method", WRITES)
def test_reads_that_a_caller_floods_with_hide_no_write_of_its_own(
    log: MemoryLog, recorder: AuditRecorder, method: str
) -> None:
    for number in range(2500):
        refuse(recorder, tenant=f"tenant-{number}", method=OTHERS[number % len(OTHERS)])
        if number % 500 == 0:
            recorder.flush()
    recorder.flush()
    assert len(log.events) <= OF_OTHERS.first + len(OTHERS) * (OF_OTHERS.apart + 1) <= 200
    before = len(log.events)
    for tenant in ("b", "b", "t"):
        refuse(recorder, tenant=tenant, method=method)
    recorder.flush()
    found = [(event.actor, event.method, event.tenant_id, event.count) for event in refused_events(log)[before:]]
    assert found == [("anna", method, "b", 2), ("anna", method, "t", 1)]


def test_writes_that_a_caller_floods_with_hide_no_other_command_and_no_first_targets_of_its_own(
    log: MemoryLog, recorder: AuditRecorder
) -> None:
    for number in range(OF_WRITES.first):
        refuse(recorder, tenant=f"tenant-{number}", method="PUT")
    recorder.flush()
    for number in range(OF_WRITES.apart + 4):
        for method in ("PUT", "DELETE"):
            refuse(recorder, tenant=f"other-{number}", method=method)
            refuse(recorder, tenant=f"other-{number}", code="not-found", method=method)
    recorder.flush()
    found = [(event.method, event.tenant_id, event.count) for event in refused_events(log)[OF_WRITES.first :]]
    targets = [f"other-{number}" for number in range(OF_WRITES.apart)]
    expected = {(method, target, 2) for method in ("PUT", "DELETE") for target in targets}
    assert set(found) == expected | {("PUT", None, 8), ("DELETE", None, 8)}


def test_a_merged_kind_that_is_never_quiet_does_not_keep_another_from_its_record(
    log: MemoryLog, clock: Clock, recorder: AuditRecorder
) -> None:
    for number in range(OF_WRITES.first):
        refuse(recorder, tenant=f"tenant-{number}")
    for minute in range(300):
        for number in range(3 * OF_WRITES.apart):
            refuse(recorder, tenant=f"other-{number}", method=WRITES[number % 3])
        if minute == 59:
            refuse(recorder, tenant="b", method="DELETE")
        recorder.flush()
        clock.now += MINUTE
    assert [event.count for event in refused_events(log) if event.tenant_id == "b"] == [1]


def test_what_one_caller_floods_hides_nothing_of_another(log: MemoryLog, recorder: AuditRecorder) -> None:
    for number in range(3 * OF_WRITES.first):
        refuse(recorder, actor="app1", tenant=f"tenant-{number}")
    refuse(recorder, actor="bert", tenant="b")
    for number in range(3 * OF_WRITES.first):
        refuse(recorder, actor="app1", tenant=f"other-{number}")
    recorder.flush()
    assert [(event.tenant_id, event.count) for event in refused_events(log, "bert")] == [("b", 1)]


OUTAGES = ["outage before the effect", "outage after the effect", "conflict after the effect"]


@pytest.mark.parametrize("error", OUTAGES)
def test_an_outage_neither_loses_nor_doubles_a_record(log: MemoryLog, recorder: AuditRecorder, error: str) -> None:
    refuse(recorder)
    refuse(recorder)
    log.errors = [error]
    if error.startswith("outage"):
        with pytest.raises(StoreUnavailableError):
            recorder.flush()
    else:
        recorder.flush()
    refuse(recorder, actor="bert")
    recorder.flush()
    assert sorted(counts(log)) == [1, 2]


def test_a_long_outage_keeps_the_numbers_and_a_bounded_number_of_events(
    log: MemoryLog, clock: Clock, recorder: AuditRecorder
) -> None:
    rounds = 20
    for _ in range(rounds):
        for number in range(256):
            refuse(recorder, actor=f"caller-{number}")
        log.errors = ["outage before the effect"]
        with pytest.raises(StoreUnavailableError):
            recorder.flush()
        clock.now += MINUTE
    recorder.flush()
    assert len(log.events) <= UNCONFIRMED
    clock.now += MINUTE
    recorder.flush()
    assert sum(counts(log)) == rounds * 256
    assert {event.actor for event in refused_events(log)} == {f"caller-{number}" for number in range(256)}


READS: list[tuple[str, Callable[[AuditRecorder, CommandMeta], None], type[object]]] = [
    ("a read", lambda recorder, meta: recorder.read(meta, "entries", None), AuditRead),
    ("an export", lambda recorder, meta: recorder.exported(meta, "csv", "action:set"), AuditExported),
]


@pytest.mark.parametrize(("act", "kind"), [one[1:] for one in READS], ids=[one[0] for one in READS])
def test_reading_is_stored_before_it_returns_or_refused(
    log: MemoryLog,
    recorder: AuditRecorder,
    act: Callable[[AuditRecorder, CommandMeta], None],
    kind: type[object],
) -> None:
    meta = CommandMeta("anna", "req-1", "", role="auditor", source="cli")
    act(recorder, meta)
    assert [type(event) for event in log.events] == [kind]
    log.errors = ["outage before the effect"]
    with pytest.raises(StoreUnavailableError):
        act(recorder, CommandMeta("bert", "req-2", "", role="auditor", source="cli"))


def test_reads_of_two_callers_are_never_counted_together(log: MemoryLog, recorder: AuditRecorder) -> None:
    for number in range(OF_READS.first + 10):
        recorder.read(CommandMeta("anna", "req-1", "", role="auditor", source="cli"), "entries", f"text:{number}")
    recorder.read(CommandMeta("bert", "req-2", "", role="auditor", source="cli"), "entries", "text:0")
    assert [event.query for event in log.events if isinstance(event, AuditRead) and event.actor == "bert"] == ["text:0"]
    asyncio.run(recorder.stop())
    merged = [event for event in log.events if isinstance(event, AuditRead) and event.query == "several"]
    assert [(event.actor, event.view, event.count) for event in merged] == [("anna", "entries", 9)]


def test_an_orderly_end_stores_what_the_window_still_held(log: MemoryLog, recorder: AuditRecorder) -> None:
    async def life() -> None:
        await recorder.start()
        refuse(recorder)
        await asyncio.to_thread(recorder.flush)
        refuse(recorder)
        refuse(recorder)
        await recorder.stop()

    asyncio.run(life())
    assert counts(log) == [1, 2]


def test_lockouts_are_recorded_by_address_and_counted(log: MemoryLog, clock: Clock, recorder: AuditRecorder) -> None:
    def lock_out(address: str) -> None:
        meta = CommandMeta("anonymous", "req-1", "", role="anonymous", source="api", client_address=address)
        recorder.locked_out(meta, Lockout(seconds=60.0))

    for minute in range(60):
        lock_out("192.0.2.7")
        for number in range(100):
            lock_out(f"198.51.{minute}.{number}")
        recorder.flush()
        clock.now += MINUTE
    asyncio.run(recorder.stop())
    found = [event for event in log.events if isinstance(event, AddressLockedOut)]
    assert (found[0].client_address, found[0].outcome, found[0].seconds) == ("192.0.2.7", "denied", 60.0)
    assert len(found) <= 10
    assert sum(counts(log)) == 60 * 101
