"""A copy that several processes fill is the one that a single process would fill."""

import multiprocessing
from concurrent.futures.process import BrokenProcessPool

import pytest

from domain.errors import CredentialIntegrityError
from projections.replay import parallel_fill as side_by_side
from projections.replay.replaying import Progress, replay_projection
from tests.projections.replay.test_replay import Interrupted, fill
from tests.support.checker import check
from tests.support.store import Store


def test_several_processes_write_what_one_would(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(side_by_side, "WORTHWHILE", 1)
    monkeypatch.setattr(side_by_side, "WORKERS", 3)
    told: list[tuple[int, int]] = []
    found = replay_projection(store.url, "audit_trail", lambda done, total: told.append((done, total)))
    assert (found.events, found.difference_count, found.swapped) == (10, 0, True)
    assert told[-1] == (10, 10)
    check(store)


def test_an_event_that_is_not_understood_stops_all_processes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    with store.superuser() as database:
        database.execute("INSERT INTO keyledger_events VALUES (gen_random_uuid(), 1, 'CredentialRenamed', '{}', 11)")
    monkeypatch.setattr(side_by_side, "WORTHWHILE", 1)
    monkeypatch.setattr(side_by_side, "WORKERS", 2)
    with pytest.raises(CredentialIntegrityError, match="event-topic-unknown at position 11, topic CredentialRenamed"):
        replay_projection(store.url, "audit_trail")


def test_a_lost_process_makes_one_do_it_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    several = side_by_side._by_several

    def lost(write: side_by_side.Write, dsn: str, table: str, upto: int, progress: Progress) -> int:
        several(write, dsn, table, upto, progress)
        raise BrokenProcessPool

    monkeypatch.setattr(side_by_side, "WORTHWHILE", 1)
    monkeypatch.setattr(side_by_side, "WORKERS", 2)
    monkeypatch.setattr(side_by_side, "_by_several", lost)
    assert replay_projection(store.url, "audit_trail").difference_count == 0
    check(store)


def test_an_interruption_ends_the_processes_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(side_by_side, "WORTHWHILE", 1)
    monkeypatch.setattr(side_by_side, "WORKERS", 2)

    def interrupt(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        replay_projection(store.url, "audit_trail", interrupt)
    assert multiprocessing.active_children() == []
    check(store)
