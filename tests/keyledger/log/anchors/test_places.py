"""ANCHOR_DIR, the second place of the anchor: it counts as the first does, and its absence is said."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from keyledger.assembly.checks.same_ledger import require_same_log
from keyledger.log.anchors import places as module
from keyledger.log.anchors.anchor import Anchor, AnchorFile
from keyledger.log.anchors.log_state import look
from keyledger.log.anchors.places import AnchorPlace, anchor_places
from keyledger.log.anchors.watch import AnchorWatch
from keyledger.start_error import StartError
from tests.keyledger.log.anchors.test_anchor import forget, state_of, write
from tests.support.service import DIRECT_MODELS, client_of, environment, served
from tests.support.store import Store, open_store


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def both(folder: Path, share: Path) -> Sequence[AnchorPlace]:
    return anchor_places(folder / "data", share)


def record(store: Store, folder: Path, share: Path) -> None:
    AnchorWatch(store.pool, both(folder, share)).record()


def test_both_places_get_the_anchor(store: Store, tmp_path: Path, share: Path) -> None:
    write(store, 2)
    record(store, tmp_path, share)
    now = look(store.pool, []).now
    assert AnchorFile(share).read() == AnchorFile(tmp_path / "data").read() == now


@pytest.mark.parametrize("lost", ["data", "share"])
def test_a_log_that_went_back_is_noticed_by_the_place_that_is_left(
    store: Store, tmp_path: Path, share: Path, lost: str
) -> None:
    write(store, 3)
    record(store, tmp_path, share)
    (tmp_path / lost / "log-anchor.json").unlink()
    forget(store, 1)
    with pytest.raises(StartError, match="position 3 was recorded"):
        require_same_log(store.pool, both(tmp_path, share))
    watch = AnchorWatch(store.pool, both(tmp_path, share))
    watch.record()
    assert not watch.check().ok
    assert not (tmp_path / lost / "log-anchor.json").exists()


def test_another_ledger_on_the_share_is_refused(store: Store, tmp_path: Path, share: Path) -> None:
    AnchorFile(share).advance(state_of(1))
    with pytest.raises(StartError, match=r"ANCHOR_DIR belongs to the ledger .*set ANCHOR_DIR to another folder"):
        require_same_log(store.pool, both(tmp_path, share))


def test_a_share_that_is_not_there_is_said_and_stops_nothing(store: Store, tmp_path: Path, share: Path) -> None:
    write(store, 2)
    record(store, tmp_path, share)
    share.rename(tmp_path / "unmounted")
    require_same_log(store.pool, both(tmp_path, share))
    watch = AnchorWatch(store.pool, both(tmp_path, share))
    watch.record()
    check = watch.check()
    assert (check.ok, "ANCHOR_DIR cannot be reached" in check.text) == (True, True)
    assert not share.exists(), "a folder is not made where the share should be"
    (tmp_path / "unmounted").rename(share)
    write(store, 3)
    watch.record()
    assert watch.check().text == f"at position {look(store.pool, []).now.position}"
    assert AnchorFile(share).read() == look(store.pool, []).now


def test_what_was_seen_on_a_share_counts_while_it_is_away(store: Store, tmp_path: Path, share: Path) -> None:
    watch = AnchorWatch(store.pool, both(tmp_path, share))
    write(store, 3)
    watch.record()
    share.rename(tmp_path / "unmounted")
    (tmp_path / "data" / "log-anchor.json").unlink()
    forget(store, 1)
    assert not watch.check().ok


def test_without_the_share_and_without_an_anchor_there_is_nothing_to_compare_with(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="ANCHOR_DIR cannot be reached, and DATA_DIR has no anchor"):
        require_same_log(store.pool, both(tmp_path, tmp_path / "nowhere"))


def test_a_damaged_anchor_on_the_share_is_not_ready(store: Store, tmp_path: Path, share: Path) -> None:
    (share / "log-anchor.json").write_text("{}")
    with pytest.raises(StartError, match="cannot be read"):
        require_same_log(store.pool, both(tmp_path, share))
    assert not AnchorWatch(store.pool, both(tmp_path, share)).check().ok


def test_a_share_that_hangs_holds_up_nothing(
    store: Store, tmp_path: Path, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 1)
    watch = AnchorWatch(store.pool, both(tmp_path, share))
    watch.record()
    released, whole = threading.Event(), AnchorFile.read

    def hanging(self: AnchorFile) -> Anchor | None:
        if self.path.parent == share:
            released.wait()
        return whole(self)

    monkeypatch.setattr(AnchorFile, "read", hanging)
    monkeypatch.setattr(module, "PATIENCE_S", 0)
    write(store, 2)
    for _ in range(100):  # each would take PATIENCE_S, did it not know that one is under way
        watch.record()
        assert "ANCHOR_DIR cannot be reached" in watch.check().text
    assert AnchorFile(tmp_path / "data").read() == look(store.pool, []).now
    assert len([one for one in threading.enumerate() if one.name == "ANCHOR_DIR"]) == 1
    released.set()


def test_a_service_keeps_both_and_a_new_machine_learns_from_the_share(
    database_url: str, tmp_path: Path, share: Path
) -> None:
    def settings(name: str) -> dict[str, str]:
        own = {"DATA_DIR": str(tmp_path / name), "ANCHOR_DIR": str(share)}
        return environment(AI_MODELS_FILE=DIRECT_MODELS, **own)

    with served(database_url, settings("one")), open_store(database_url) as store:
        write(store, 3)
    with open_store(database_url) as store:
        assert AnchorFile(share).read() == AnchorFile(tmp_path / "one").read() == look(store.pool, []).now
        forget(store, 1)
    with pytest.raises(StartError, match="in ANCHOR_DIR"), served(database_url, settings("new")):
        pass


def test_readiness_says_that_the_share_is_away_and_calls_go_on(database_url: str, tmp_path: Path, share: Path) -> None:
    settings = environment(AI_MODELS_FILE=DIRECT_MODELS, DATA_DIR=str(tmp_path / "one"), ANCHOR_DIR=str(share))
    with served(database_url, settings) as url, client_of(url) as client:
        share.rename(tmp_path / "unmounted")
        answer = client.http.get("/readyz")
        assert answer.status_code == 200
        assert "ANCHOR_DIR cannot be reached" in answer.json()["checks"]["log"]["text"]
        tenant = "11111111-1111-4111-8111-111111111111"
        assert client.put(tenant, "openai", api_key="sk-live-0123456789").status_code == 200
