"""The last state of the log outside the database: what is noticed, and what is not taken for a fault."""

import json
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from keyledger.assembly.start_checks import require_same_log
from keyledger.log.anchor import Anchor, AnchorFile, Contradiction, look, renew
from keyledger.log.anchor_watch import AnchorWatch
from keyledger.log.durable_file import UnreadableFileError
from keyledger.start_error import StartError
from tests.support.service import client_of, environment, served
from tests.support.store import Store, open_store

TENANTS = [str(uuid4()) for _ in range(5)]


@pytest.fixture
def file(tmp_path: Path) -> AnchorFile:
    return AnchorFile(tmp_path / "data")


def write(store: Store, count: int) -> None:
    for tenant in TENANTS[:count]:
        store.set(tenant, "openai", f"sk-{uuid4()}")


def forget(store: Store, after: int) -> None:
    """The effect of restoring an older backup on the log."""
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER USER")
        database.execute("DELETE FROM keyledger_events WHERE notification_id > %s", [after])
        database.execute("DELETE FROM current_credentials WHERE version > 0")
        database.execute("ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only")


def recorded(store: Store, file: AnchorFile) -> Anchor:
    AnchorWatch(store.pool, file).record()
    (anchor,) = file.read().values()
    return anchor


def test_an_anchor_is_a_private_file_that_reads_back(file: AnchorFile) -> None:
    assert file.read() == {}
    one, other = Anchor(str(uuid4()), 0, None), Anchor(str(uuid4()), 7, "sha256:00")
    for anchor in (one, other):
        file.write(anchor)
    assert file.read() == {one.ledger_id: one, other.ledger_id: other}
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in file.path.parent.iterdir()] == ["log-anchor.json"], "no draft is left"


def test_an_anchor_that_cannot_be_written_leaves_the_one_before(
    file: AnchorFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Anchor(str(uuid4()), 1, "sha256:00")
    file.write(first)

    def full(_: object) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        file.write(Anchor(str(uuid4()), 2, "sha256:01"))
    assert file.read() == {first.ledger_id: first}
    assert [entry.name for entry in file.path.parent.iterdir()] == ["log-anchor.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"x": {"position": 1, "event": null}}', '{"x": 1}'])
def test_a_file_that_is_no_anchor_refuses_the_start_and_says_what_to_do(
    store: Store, file: AnchorFile, content: str
) -> None:
    file.path.parent.mkdir()
    file.path.write_text(content)
    with pytest.raises(UnreadableFileError):
        file.read()
    with pytest.raises(StartError, match=r"log-anchor\.json .* cannot be read"):
        require_same_log(store.pool, file)


def test_a_log_that_grew_is_the_same_log(store: Store, file: AnchorFile) -> None:
    require_same_log(store.pool, file)
    empty = recorded(store, file)
    assert (empty.position, empty.event) == (0, None)
    write(store, 1)
    require_same_log(store.pool, file)
    one = recorded(store, file)
    assert one.position == 1
    write(store, 2)
    assert look(store.pool, {one.ledger_id: one})[1] is None
    assert recorded(store, file).position == 3


def test_a_log_that_went_backwards_is_refused_with_both_positions_and_the_way_out(
    store: Store, file: AnchorFile
) -> None:
    write(store, 3)
    recorded(store, file)
    forget(store, 1)
    with pytest.raises(StartError, match=r"ends at position 1, but position 3 .* keyledger restore accept"):
        require_same_log(store.pool, file)


def test_a_log_that_went_backwards_and_grew_again_is_refused_too(store: Store, file: AnchorFile) -> None:
    write(store, 3)
    recorded(store, file)
    forget(store, 0)
    write(store, 4)
    with pytest.raises(StartError, match="the event at position 3 is not the one"):
        require_same_log(store.pool, file)


def test_an_empty_log_after_a_full_one_is_refused(store: Store, file: AnchorFile) -> None:
    write(store, 1)
    recorded(store, file)
    forget(store, 0)
    assert look(store.pool, file.read())[1] == Contradiction(1, 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE keyledger_events SET state = state || ' '", id="state"),
        pytest.param("UPDATE keyledger_events SET topic = 'CredentialDeleted'", id="topic"),
        pytest.param("UPDATE keyledger_events SET originator_id = gen_random_uuid()", id="stream"),
        pytest.param("UPDATE keyledger_events SET originator_version = 2", id="version"),
    ],
)
def test_any_change_of_the_recorded_event_is_noticed(store: Store, file: AnchorFile, change: str) -> None:
    write(store, 1)
    recorded(store, file)
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER keyledger_events_append_only")
        database.execute(change)
    assert look(store.pool, file.read())[1] == Contradiction(1, 1)


def test_what_is_known_of_one_database_says_nothing_of_another(store: Store, file: AnchorFile) -> None:
    elsewhere = Anchor(str(uuid4()), 100, "sha256:00")
    file.write(elsewhere)
    require_same_log(store.pool, file)
    AnchorWatch(store.pool, file).record()
    here = look(store.pool, {})[0]
    assert file.read() == {elsewhere.ledger_id: elsewhere, here.ledger_id: here}


def test_the_ledgers_identity_cannot_be_changed(store: Store) -> None:
    for statement in ("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()", "DELETE FROM keyledger_ledger"):
        with store.superuser() as database, pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(statement)
    with store.superuser() as database, pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("INSERT INTO keyledger_ledger DEFAULT VALUES")


def test_a_command_without_a_service_renews_an_anchor_that_is_there_and_makes_none(
    store: Store, file: AnchorFile
) -> None:
    write(store, 1)
    renew(store.pool, file)
    assert file.read() == {}
    recorded(store, file)
    write(store, 2)
    renew(store.pool, file)
    known = file.read()
    assert list(known.values()) == [look(store.pool, {})[0]]
    forget(store, 1)
    renew(store.pool, file)
    assert file.read() == known


class TestWatch:
    def test_a_log_that_went_backwards_ends_readiness_and_keeps_the_anchor(
        self, store: Store, file: AnchorFile
    ) -> None:
        watch = AnchorWatch(store.pool, file)
        write(store, 3)
        watch.record()
        assert watch.check().ok
        forget(store, 1)
        assert (watch.check().ok, watch.check().text[:9]) == (False, "went back")
        watch.record()
        (anchor,) = file.read().values()
        assert anchor.position == 3

    def test_without_a_writable_folder_it_watches_in_memory_and_says_so(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "taken").touch()
        watch = AnchorWatch(store.pool, AnchorFile(tmp_path / "taken" / "data"))
        write(store, 2)
        watch.record()
        check = watch.check()
        assert (check.ok, "DATA_DIR cannot be written" in check.text) == (True, True)
        forget(store, 1)
        assert not watch.check().ok

    def test_a_file_that_went_away_is_written_again_and_its_knowledge_stays(
        self, store: Store, file: AnchorFile
    ) -> None:
        watch = AnchorWatch(store.pool, file)
        write(store, 2)
        watch.record()
        file.path.unlink()
        watch.record()
        assert file.path.exists()
        file.path.unlink()
        forget(store, 1)
        assert not watch.check().ok

    def test_two_processes_that_share_a_folder_do_not_alarm_each_other(self, store: Store, file: AnchorFile) -> None:
        one, other = AnchorWatch(store.pool, file), AnchorWatch(store.pool, file)
        for _ in range(3):
            write(store, 1)
            one.record()
            write(store, 1)
            other.record()
            assert one.check().ok
            assert other.check().ok

    def test_nothing_secret_and_no_address_is_in_the_file(self, store: Store, file: AnchorFile) -> None:
        write(store, 1)
        recorded(store, file)
        (members,) = json.loads(file.path.read_text()).values()
        assert set(members) == {"position", "event"}


def test_a_service_that_ended_in_order_has_recorded_the_end_of_the_log(database_url: str, tmp_path: Path) -> None:
    with served(database_url, environment(DATA_DIR=str(tmp_path))) as url, client_of(url) as client:
        for tenant in TENANTS:
            assert client.put(tenant, "openai", api_key="sk-live-0123456789").status_code == 200
    with open_store(database_url) as store:
        assert list(AnchorFile(tmp_path).read().values()) == [look(store.pool, {})[0]]


def test_a_log_that_goes_backwards_under_a_running_service_ends_its_readiness(
    database_url: str, tmp_path: Path
) -> None:
    settings = environment(DATA_DIR=str(tmp_path))
    with served(database_url, settings) as url, client_of(url) as client, open_store(database_url) as store:
        write(store, 3)
        head = look(store.pool, {})[0]
        while head not in AnchorFile(tmp_path).read().values():  # until the background has seen it
            assert client.http.get("/readyz").json()["checks"]["log"]["ok"]
        forget(store, 1)
        answer = client.http.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["log"]["ok"]) == (503, False)
        assert f"position {head.position} was recorded" in answer.json()["checks"]["log"]["text"]
