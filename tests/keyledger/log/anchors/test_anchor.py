"""The last state of the ledger outside the database: what is noticed, and what is not taken for an error."""

import json
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.events.event_code import NO_CODES
from keyledger.assembly.checks.same_ledger import require_same_log
from keyledger.log.anchors.anchor import Anchor, AnchorFile
from keyledger.log.anchors.contradiction import Contradiction, Kind
from keyledger.log.anchors.log_state import Known, look
from keyledger.log.anchors.places import AnchorPlace, anchor_places
from keyledger.log.anchors.watch import AnchorWatch, renew
from keyledger.log.durable_file import UnreadableFileError
from keyledger.start_error import StartError
from tests.support.service import client_of, environment, served
from tests.support.store import Store, open_store

TENANTS = [str(uuid4()) for _ in range(5)]
LEDGER = str(uuid4())


@pytest.fixture
def file(tmp_path: Path) -> AnchorFile:
    return AnchorFile(tmp_path / "data")


@pytest.fixture
def places(tmp_path: Path) -> Sequence[AnchorPlace]:
    return anchor_places(tmp_path / "data", None)


def write(store: Store, count: int) -> None:
    for tenant in TENANTS[:count]:
        store.set(tenant, "openai", f"sk-{uuid4()}")
    store.follow()


def forget(store: Store, after: int) -> None:
    """The effect of restoring an older backup on the log."""
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER USER")
        database.execute("DELETE FROM keyledger_events WHERE notification_id > %s", [after])
        database.execute("DELETE FROM current_credentials WHERE version > 0")
        database.execute("TRUNCATE audit_trail, transparency_log, projection_positions")
        database.execute("ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only")


def state_of(size: int, ledger_id: str = LEDGER, event: str | None = "sha256:00") -> Anchor:
    return Anchor(ledger_id, size, event if size else None, size, bytes(32))


def recorded(store: Store, file: AnchorFile) -> Anchor:
    AnchorWatch(store.pool, anchor_places(file.path.parent, None)).record()
    anchor = file.read()
    assert anchor is not None
    return anchor


def contradiction(store: Store, file: AnchorFile) -> Contradiction | None:
    anchor = file.read()
    return look(store.pool, [] if anchor is None else [Known("DATA_DIR", anchor)]).contradiction


def test_an_anchor_is_a_private_file_that_reads_back(file: AnchorFile) -> None:
    assert file.read() is None
    for anchor in (state_of(0), state_of(7)):
        file.advance(anchor)
        assert file.read() == anchor
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in file.path.parent.iterdir()] == ["log-anchor.json"], "no draft is left"


def test_an_anchor_that_cannot_be_written_leaves_the_one_before(
    file: AnchorFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.advance(state_of(1))

    def full(_: object) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        file.advance(state_of(2))
    assert file.read() == state_of(1)
    assert [entry.name for entry in file.path.parent.iterdir()] == ["log-anchor.json"]


def test_an_anchor_never_steps_back_and_never_changes_its_ledger_but_by_an_operator(file: AnchorFile) -> None:
    file.advance(state_of(7))
    file.advance(state_of(5))
    assert file.read() == state_of(7)
    other = state_of(9, str(uuid4()))
    with pytest.raises(UnreadableFileError):
        file.advance(other)
    assert file.read() == state_of(7)
    file.replace(other)
    assert file.read() == other


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"ledger_id": "x"}', f'{{"{uuid4()}": {{"position": 1, "event": null}}}}'],
    ids=["empty", "a list", "a part", "the form of an earlier program"],
)
def test_a_file_that_is_no_anchor_refuses_the_start_and_says_what_to_do(
    store: Store, file: AnchorFile, places: Sequence[AnchorPlace], content: str
) -> None:
    file.path.parent.mkdir()
    file.path.write_text(content)
    with pytest.raises(UnreadableFileError):
        file.read()
    with pytest.raises(StartError, match=r"log-anchor\.json .* cannot be read"):
        require_same_log(store.pool, places)


def test_a_log_that_grew_is_the_same_log(store: Store, file: AnchorFile, places: Sequence[AnchorPlace]) -> None:
    require_same_log(store.pool, places)
    empty = recorded(store, file)
    assert (empty.position, empty.event, empty.tree_size) == (0, None, 0)
    write(store, 1)
    require_same_log(store.pool, places)
    one = recorded(store, file)
    assert (one.position, one.tree_size) == (1, 1)
    write(store, 2)
    assert contradiction(store, file) is None
    assert recorded(store, file).position == 3


def test_a_log_that_went_backwards_is_refused_with_both_positions_and_the_way_out(
    store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
) -> None:
    write(store, 3)
    recorded(store, file)
    forget(store, 1)
    with pytest.raises(StartError, match=r"ends at position 1, but position 3 .* keyledger restore accept"):
        require_same_log(store.pool, places)


def test_a_log_that_went_backwards_and_grew_again_is_refused_too(
    store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
) -> None:
    write(store, 3)
    recorded(store, file)
    forget(store, 0)
    write(store, 4)
    with pytest.raises(StartError, match="the log up to position 3 is not the one"):
        require_same_log(store.pool, places)


def test_an_empty_log_after_a_full_one_is_refused(store: Store, file: AnchorFile) -> None:
    write(store, 1)
    recorded(store, file)
    forget(store, 0)
    assert contradiction(store, file) == Contradiction(Kind.SHORTER, 1, 0)


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
    assert contradiction(store, file) == Contradiction(Kind.REWRITTEN, 1, 1)


def test_an_earlier_event_changed_with_the_whole_tree_is_noticed(store: Store, file: AnchorFile) -> None:
    """The recorded event itself stays as it was; the root of the tree does not."""
    write(store, 3)
    recorded(store, file)
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER keyledger_events_append_only")
        database.execute(
            "UPDATE keyledger_events SET state = replace(convert_from(state, 'UTF8'), 'req-', 'req+')::bytea"
            " WHERE notification_id = 1"
        )
        database.execute("TRUNCATE transparency_log")
        database.execute("DELETE FROM projection_positions WHERE projection = 'transparency_log'")
    store.follow()
    assert contradiction(store, file) == Contradiction(Kind.REWRITTEN, 3, 3)


def test_a_tree_that_was_emptied_is_computed_again_before_the_log_is_compared(
    store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
) -> None:
    write(store, 3)
    known = recorded(store, file)
    with store.superuser() as database:
        database.execute("TRUNCATE transparency_log")
        database.execute("DELETE FROM projection_positions WHERE projection = 'transparency_log'")
    watch = AnchorWatch(store.pool, anchor_places(file.path.parent, None))
    assert (watch.check().ok, "being computed again" in watch.check().text) == (False, True)
    watch.record()
    assert file.read() == known
    require_same_log(store.pool, places)
    assert watch.check().ok


def test_another_ledger_is_refused_and_the_way_out_is_named(
    store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
) -> None:
    file.advance(state_of(100))
    with pytest.raises(StartError) as refused:
        require_same_log(store.pool, places)
    here = look(store.pool, []).now.ledger_id
    assert f"DATA_DIR belongs to the ledger {LEDGER}, but the database holds the ledger {here}" in str(refused.value)
    assert "set DATA_DIR to another folder" in str(refused.value)
    assert "keyledger restore accept" in str(refused.value)
    AnchorWatch(store.pool, places).record()
    assert file.read() == state_of(100)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()",
        "DELETE FROM keyledger_ledger",
        "ALTER TABLE keyledger_ledger DROP COLUMN the_only; INSERT INTO keyledger_ledger DEFAULT VALUES",
    ],
    ids=["another id", "no id", "a second id"],
)
def test_a_ledger_id_that_changes_is_a_contradiction(store: Store, file: AnchorFile, change: str) -> None:
    write(store, 1)
    recorded(store, file)
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_ledger DISABLE TRIGGER ALL")
        database.execute(change.encode())
    found = contradiction(store, file)
    assert found is not None
    assert found.kind is Kind.OTHER_LEDGER


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            "UPDATE projection_positions SET position = 1000 WHERE projection = 'audit_trail'",
            "audit_trail claims to show position 1000",
            id="position of the trail",
        ),
        pytest.param(
            "UPDATE projection_positions SET position = 1000 WHERE projection = 'transparency_log'",
            "transparency_log claims to show position 1000",
            id="position of the tree",
        ),
        pytest.param(
            'INSERT INTO audit_trail SELECT (jsonb_populate_record(t, \'{"position": 9, "version": 9}\')).*'
            " FROM audit_trail AS t WHERE position = 1",
            "audit_trail claims to show position 9",
            id="entry of the trail",
        ),
        pytest.param(
            "UPDATE projection_positions SET position = 1 WHERE projection = 'audit_trail'",
            "audit_trail claims to show position 1, but its rows end at 2",
            id="position of the trail, moved back",
        ),
        pytest.param(
            "DELETE FROM audit_trail WHERE position = 2",
            "audit_trail claims to show position 2, but its rows end at 1",
            id="last entry of the trail removed",
        ),
        pytest.param(
            "DELETE FROM audit_trail WHERE position = 1",
            "1 of the last entries of the projection audit_trail are missing",
            id="entry of the trail removed",
        ),
        pytest.param(
            "UPDATE transparency_log SET hashes = hashes || sha256('') WHERE level = 0",
            "transparency_log claims to show position 3",
            id="leaf of the tree",
        ),
        pytest.param(
            "UPDATE current_credentials SET version = 7",
            "2 rows of current_credentials are at versions that the log does not have",
            id="credentials",
        ),
    ],
)
def test_a_projection_ahead_of_its_log_is_refused_without_any_anchor(
    store: Store, places: Sequence[AnchorPlace], change: str, said: str
) -> None:
    write(store, 2)
    with store.superuser() as database:
        database.execute(change.encode())
    with pytest.raises(StartError) as refused:
        require_same_log(store.pool, places)
    assert said in str(refused.value)
    assert "keyledger replay --projection" in str(refused.value)


def test_the_ledgers_identity_cannot_be_changed(store: Store) -> None:
    for statement in ("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()", "DELETE FROM keyledger_ledger"):
        with store.superuser() as database, pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(statement)
    with store.superuser() as database, pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("INSERT INTO keyledger_ledger DEFAULT VALUES")


def test_a_command_without_a_service_renews_an_anchor_that_is_there_and_makes_none(
    store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
) -> None:
    write(store, 1)
    renew(store.pool, places, NO_CODES)
    assert file.read() is None
    recorded(store, file)
    write(store, 2)
    renew(store.pool, places, NO_CODES)
    known = file.read()
    assert known == look(store.pool, []).now
    forget(store, 1)
    renew(store.pool, places, NO_CODES)
    assert file.read() == known


class TestWatch:
    def test_a_log_that_went_backwards_ends_readiness_and_keeps_the_anchor(
        self, store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
    ) -> None:
        watch = AnchorWatch(store.pool, places)
        write(store, 3)
        watch.record()
        assert watch.check().ok
        forget(store, 1)
        assert (watch.check().ok, watch.check().text[:9]) == (False, "went back")
        watch.record()
        known = file.read()
        assert known is not None
        assert known.position == 3

    def test_without_a_writable_folder_it_watches_in_memory_and_says_so(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "taken").touch()
        watch = AnchorWatch(store.pool, anchor_places(tmp_path / "taken" / "data", None))
        write(store, 2)
        watch.record()
        check = watch.check()
        assert (check.ok, "DATA_DIR cannot be written" in check.text) == (True, True)
        forget(store, 1)
        assert not watch.check().ok

    def test_a_file_that_went_away_is_written_again_and_its_knowledge_stays(
        self, store: Store, file: AnchorFile, places: Sequence[AnchorPlace]
    ) -> None:
        watch = AnchorWatch(store.pool, places)
        write(store, 2)
        watch.record()
        file.path.unlink()
        watch.record()
        assert file.path.exists()
        file.path.unlink()
        forget(store, 1)
        assert not watch.check().ok

    def test_two_processes_that_share_a_folder_do_not_alarm_each_other(self, store: Store, tmp_path: Path) -> None:
        one, other = (AnchorWatch(store.pool, anchor_places(tmp_path, None)) for _ in range(2))
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
        assert set(json.loads(file.path.read_text())) == {"ledger_id", "position", "event", "tree_size", "tree_root"}


def test_a_service_that_ended_in_order_has_recorded_the_end_of_the_log(database_url: str, tmp_path: Path) -> None:
    with served(database_url, environment(DATA_DIR=str(tmp_path))) as url, client_of(url) as client:
        for tenant in TENANTS:
            assert client.put(tenant, "openai", api_key="sk-live-0123456789").status_code == 200
    with open_store(database_url) as store:
        known, now = AnchorFile(tmp_path).read(), look(store.pool, []).now
        assert known is not None
        assert (known.position, known.event) == (now.position, now.event)


def test_a_log_that_goes_backwards_under_a_running_service_ends_its_readiness(
    database_url: str, tmp_path: Path
) -> None:
    settings = environment(DATA_DIR=str(tmp_path))
    with served(database_url, settings) as url, client_of(url) as client, open_store(database_url) as store:
        write(store, 3)
        head = look(store.pool, []).now
        while (known := AnchorFile(tmp_path).read()) is None or known.position < head.position:
            assert client.http.get("/readyz").json()["checks"]["log"]["ok"]  # until the background has seen it
        forget(store, 1)
        answer = client.http.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["log"]["ok"]) == (503, False)
        assert f"position {head.position} was recorded" in answer.json()["checks"]["log"]["text"]
