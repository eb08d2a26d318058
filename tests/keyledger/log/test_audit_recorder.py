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
from domain.event import CommandMeta
from keyledger.log.audit_recorder import OF_AN_ACTOR, OF_READS, UNCONFIRMED, AuditRecorder
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


def test_one_caller_causes_a_bounded_number_of_events_and_its_first_thousand_targets_are_named(
    log: MemoryLog, clock: Clock, recorder: AuditRecorder
) -> None:
    for minute in range(60):
        for number in range(100):
            refuse(recorder, tenant=f"tenant-{minute}-{number}")
            refuse(recorder, tenant="the same")
        recorder.flush()
        clock.now += MINUTE
    named = {event.tenant_id for event in refused_events(log)} - {None}
    assert len(named) >= OF_AN_ACTOR.first
    assert len(log.events) <= OF_AN_ACTOR.first + OF_AN_ACTOR.again + OF_AN_ACTOR.merged
    merged = [event for event in refused_events(log) if event.tenant_id is None]
    assert merged and all((event.actor, event.method, event.route) == ("anna", "PUT", "/r") for event in merged)
    clock.now += HOUR
    recorder.flush()
    assert sum(counts(log)) == 60 * 200, "every one is counted"


def test_a_caller_that_floods_first_hides_no_other_command_of_its_own(log: MemoryLog, recorder: AuditRecorder) -> None:
    for number in range(5 * OF_AN_ACTOR.first):
        refuse(recorder, tenant=f"tenant-{number}", method="GET")
        if number % 1000 == 0:
            recorder.flush()
    refuse(recorder, tenant="b", method="DELETE")
    recorder.flush()
    recorder.flush()
    found = [(event.tenant_id, event.count) for event in refused_events(log) if event.method == "DELETE"]
    assert found == [("b", 1)]


def test_what_one_caller_floods_hides_nothing_of_another(log: MemoryLog, recorder: AuditRecorder) -> None:
    for number in range(3 * OF_AN_ACTOR.first):
        refuse(recorder, actor="app1", tenant=f"tenant-{number}")
    refuse(recorder, actor="bert", tenant="b")
    for number in range(3 * OF_AN_ACTOR.first):
        refuse(recorder, actor="app1", tenant=f"other-{number}")
    for _ in range(2 + OF_AN_ACTOR.first // UNCONFIRMED):
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
