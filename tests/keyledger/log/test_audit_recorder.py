"""Refused requests and reads are recorded once and within bounds, also through outages of the database."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from domain.audit.request_events import AuditExported, AuditRead, Outcome, RefusedRequest, RequestRefused
from domain.errors import StoreUnavailableError
from domain.event import CommandMeta
from keyledger.log.audit_recorder import KINDS, UNCONFIRMED, WINDOW_S, AuditRecorder
from tests.support.scenario import NOW
from tests.support.twins.log import MemoryLog


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


def refuse(recorder: AuditRecorder, actor: str = "anna", code: str = "forbidden", address: str = "192.0.2.7") -> None:
    meta = CommandMeta(actor, "req-1", "", role="auditor", source="api", client_address=address)
    recorder.refused(meta, RefusedRequest(outcome=Outcome.DENIED, method="PUT", route="/r", status=403, code=code))


def counts(log: MemoryLog) -> list[int]:
    return [event.count for event in log.events if isinstance(event, RequestRefused | AuditRead)]


def test_the_first_of_its_kind_is_stored_and_more_within_the_window_are_counted(
    log: MemoryLog, clock: Clock, recorder: AuditRecorder
) -> None:
    refuse(recorder)
    recorder.flush()
    for _ in range(5):
        refuse(recorder)
    recorder.flush()
    assert counts(log) == [1]
    clock.now += timedelta(seconds=WINDOW_S)
    recorder.flush()
    assert counts(log) == [1, 5]
    clock.now += timedelta(seconds=WINDOW_S)
    recorder.flush()
    refuse(recorder)
    recorder.flush()
    assert counts(log) == [1, 5, 1], "after a quiet window it is news again"


def test_different_callers_and_reasons_are_told_apart(log: MemoryLog, recorder: AuditRecorder) -> None:
    refuse(recorder)
    refuse(recorder, actor="bert")
    refuse(recorder, code="not-found")
    refuse(recorder, address="192.0.2.8")
    recorder.flush()
    assert counts(log) == [1, 1, 1, 1]
    assert len({event.originator_id for event in log.events}) == 4


def test_any_number_of_kinds_costs_a_bounded_number_of_events(log: MemoryLog, recorder: AuditRecorder) -> None:
    for number in range(10 * KINDS):
        refuse(recorder, actor=f"caller-{number}")
    recorder.flush()
    assert len(log.events) <= KINDS + 1
    assert sum(counts(log)) == 10 * KINDS, "every one is counted"


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
    rounds = 2 * UNCONFIRMED // KINDS
    for _ in range(rounds):
        for number in range(KINDS):
            refuse(recorder, actor=f"caller-{number}")
        log.errors = ["outage before the effect"]
        with pytest.raises(StoreUnavailableError):
            recorder.flush()
        clock.now += timedelta(seconds=WINDOW_S)
    recorder.flush()
    clock.now += timedelta(seconds=WINDOW_S)
    recorder.flush()
    assert sum(counts(log)) == rounds * KINDS
    assert len(log.events) <= UNCONFIRMED + 2 * KINDS


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
