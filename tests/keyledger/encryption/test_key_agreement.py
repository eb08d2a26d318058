"""A node begins to serve once all live nodes can open what the others seal, and not before."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest

from keyledger.encryption.key_agreement import PATIENCE_S, disagreements, require_agreement
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Node, Presence
from keyledger.start_error import StartError
from tests.scripts.process import Process, running
from tests.support.rings import BOTH, NEW, OLD
from tests.support.service import DIRECT_MODELS, environment
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store

WIDE = Keyring(ENCRYPTION_KEY, [OTHER_ENCRYPTION_KEY])
"""As before the swap: the old key seals, both open."""
SERVING = r"serving on (http://\S+)"


@contextmanager
def serving(folder: Path, database_url: str, primary: str, previous: str = "") -> Iterator[Process]:
    keys = {"ENCRYPTION_KEY": primary, "ENCRYPTION_KEY_PREVIOUS": previous}
    settings = environment(DATABASE_URL=database_url, AI_MODELS_FILE=DIRECT_MODELS, **keys)
    folder.mkdir(exist_ok=True)
    with running(folder, "serve", "--port", "0", "--workers", "1", env=settings, warm=True) as node:
        yield node


def wait_until_it_serves(node: Process) -> None:
    answer = httpx.get(f"{node.wait_for(SERVING)}/livez", timeout=PATIENCE_S, trust_env=False)
    assert answer.status_code == 200


class Time:
    """A clock that only pauses move. Each pause may do something."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self._meanwhile = meanwhile

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile()


def require(store: Store, ring: Keyring, time: Time) -> None:
    require_agreement(Presence(store.pool), ring, lambda: time.now, time.pause)


@pytest.mark.parametrize(
    ("there", "here", "agree"),
    [
        pytest.param(OLD, OLD, True, id="a restart with the same key"),
        pytest.param(WIDE, WIDE, True, id="a restart with the same two keys"),
        pytest.param(OLD, WIDE, True, id="the first node that gets the new key"),
        pytest.param(WIDE, BOTH, True, id="the first node that seals with the new key"),
        pytest.param(BOTH, WIDE, True, id="a step back"),
        pytest.param(BOTH, NEW, True, id="the first node without the old key"),
        pytest.param(OLD, NEW, False, id="a key that no one else knows"),
        pytest.param(OLD, BOTH, False, id="the new key seals before all know it"),
        pytest.param(WIDE, NEW, False, id="the old key is dropped while another seals with it"),
    ],
)
def test_rings_agree_when_each_opens_what_the_other_seals(
    store: Store, there: Keyring, here: Keyring, agree: bool
) -> None:
    Presence(store.pool).beat(there)
    assert (disagreements(Presence(store.pool).others(here), here) == []) is agree
    time = Time()
    if agree:
        require(store, here, time)
        assert time.now == 0, "it does not wait"
    else:
        with pytest.raises(StartError, match=str(os.getpid())):
            require(store, here, time)
        assert time.now >= PATIENCE_S


def test_a_start_waits_for_a_real_node_which_it_names_and_goes_on_when_that_ends(tmp_path: Path, store: Store) -> None:
    old, new = ENCRYPTION_KEY.reveal(), OTHER_ENCRYPTION_KEY.reveal()
    with serving(tmp_path / "first", store.url, old) as first:
        wait_until_it_serves(first)
        with pytest.raises(StartError, match=rf"process {first.popen.pid}\) does not know the key {NEW.primary_id}"):
            require(store, NEW, Time())
        with serving(tmp_path / "second", store.url, new, old) as second:
            told = second.wait_for(r"(waiting for up to .*)")
            assert re.search(rf"process {first.popen.pid}\) does not know the key {BOTH.primary_id}", told)
            assert first.terminate() == 0
            wait_until_it_serves(second)
            assert second.terminate() == 0


def test_a_start_that_waits_ends_in_order_when_it_is_told_to(tmp_path: Path, database_url: str) -> None:
    with serving(tmp_path / "first", database_url, ENCRYPTION_KEY.reveal()) as first:
        wait_until_it_serves(first)
        with serving(
            tmp_path / "second", database_url, OTHER_ENCRYPTION_KEY.reveal(), ENCRYPTION_KEY.reveal()
        ) as second:
            second.wait_for(r"(waiting for up to)")
            second.popen.terminate()
            assert second.end() == 0
        assert first.terminate() == 0


def test_a_node_that_gets_the_key_meanwhile_lets_the_other_go_on(store: Store) -> None:
    node = Presence(store.pool)
    node.beat(OLD)
    time = Time(lambda: node.beat(WIDE))
    require(store, BOTH, time)
    assert 0 < time.now < PATIENCE_S


def test_two_nodes_with_the_keys_swapped_restart_one_after_the_other(store: Store) -> None:
    nodes = [Presence(store.pool), Presence(store.pool)]
    for node in nodes:
        node.beat(WIDE)
    for node in nodes:
        node.leave()
        time = Time()
        require(store, BOTH, time)
        assert time.now == 0
        Presence(store.pool).beat(BOTH)


def test_a_node_that_agreed_is_found_by_the_next_before_it_serves(store: Store) -> None:
    require(store, OLD, Time())
    with pytest.raises(StartError, match=f"seals with the key {OLD.primary_id}"):
        require(store, NEW, Time())


def test_two_nodes_never_decide_at_once_and_the_second_finds_what_the_first_did(store: Store) -> None:
    order: list[str] = []
    found: list[str] = []

    def decide_second(others: Sequence[Node]) -> None:
        order.append("second")
        found.extend(node.primary_id for node in others)

    def decide_first(others: Sequence[Node]) -> Keyring:
        second.start()
        while not (order or _waits_for_a_lock(store)):
            pass
        order.append("first")
        return OLD

    second = Thread(target=Presence(store.pool).settle, args=[OLD, decide_second])
    Presence(store.pool).settle(OLD, decide_first)
    second.join()
    assert (order, found) == (["first", "second"], [OLD.primary_id])


def _waits_for_a_lock(store: Store) -> bool:
    with store.pool.connection() as connection:
        row = connection.execute("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted")
        return bool((row.fetchone() or {"n": 0})["n"])
