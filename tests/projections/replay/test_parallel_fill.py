"""A copy that several processes fill is the one that a single process would fill."""

import multiprocessing
from concurrent.futures.process import BrokenProcessPool

import pytest

from domain.errors import CredentialIntegrityError
from projections.replay import parallel_fill as side_by_side
from projections.replay.replaying import Progress, replay_projection
from tests.projections.replay.test_replay import Interrupted, fill
from tests.support import rings
from tests.support.checker import check
from tests.support.store import Store


def test_several_processes_write_what_one_would(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(side_by_side, "WORTHWHILE", 1)
    monkeypatch.setattr(side_by_side, "WORKERS", 2)
    told: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr(side_by_side, "BATCH", 1)  # the tree needs whole tiles
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


TILE = 256
HOLES = [
    pytest.param(5, 5, 5, id="within a tile", marks=pytest.mark.long),
    pytest.param(TILE + 1, TILE + 1, TILE + 1, id="the first of a tile", marks=pytest.mark.long),
    pytest.param(TILE + 1, 2 * TILE, TILE + 1, id="a whole tile"),
    pytest.param(TILE, TILE + 1, TILE + 1, id="the end of a tile and the beginning of the next"),
]
"""The first and the last event that are missing, and the position that is named."""


@pytest.fixture
def of_several_tiles(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A log of two full tiles and a part of a third, which two processes fill, each from the beginning of a tile."""
    rings.fill(store.url, 2 * TILE + 40)
    monkeypatch.setattr(side_by_side, "WORTHWHILE", 1)
    monkeypatch.setattr(side_by_side, "WORKERS", 2)
    monkeypatch.setattr(side_by_side, "BATCH", TILE)
    return store


def test_the_tree_that_several_processes_fill_is_the_one_that_follows_the_log(of_several_tiles: Store) -> None:
    of_several_tiles.follow()
    found = replay_projection(of_several_tiles.url, "transparency_log")
    assert (found.events, found.difference_count, found.rows) == (2 * TILE + 41, 0, 4)
    check(of_several_tiles)


@pytest.mark.parametrize(("first", "last", "missing"), HOLES)
def test_a_hole_in_the_log_stops_the_tree_wherever_it_is(
    of_several_tiles: Store, first: int, last: int, missing: int
) -> None:
    with of_several_tiles.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER keyledger_events_append_only")
        database.execute("DELETE FROM keyledger_events WHERE notification_id BETWEEN %s AND %s", [first, last])
    with pytest.raises(CredentialIntegrityError, match=rf"event-missing at position {missing}\)"):
        replay_projection(of_several_tiles.url, "transparency_log")
