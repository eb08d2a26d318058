"""The checkpoints of other nodes: one that contradicts the log stops signing; one by a stranger stops nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from domain.errors import CheckpointRefusedError
from domain.events.event import CommandMeta
from domain.operations.restore import RESTORE_STREAM, accept_restore
from keyledger.assembly.checks.same_ledger import peer_checkpoints, require_peers_agree
from keyledger.encryption.nodes import Presence, published_checkpoints
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.peer_checkpoints import PeerCheckpoints
from keyledger.proofs.signing_guard import SigningGuard
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from keyledger.start_error import StartError
from tests.support.evidence import signed
from tests.support.rings import OLD
from tests.support.service import DIRECT_MODELS, client_of, environment, served
from tests.support.store import LEDGER_ID, Store, open_store, unchecked

KEY = generate_signing_key("log.test")
SIGNER = LogSigner(KEY)
OWN = SIGNER.of_ledger(LEDGER_ID)


def now() -> datetime:
    return datetime.now(UTC)


def node(store: Store, folder: Path) -> Transparency:
    """A node with a DATA_DIR of its own, which is registered."""
    presence = Presence(store.pool)
    presence.beat(OLD)
    guard = SigningGuard(peers=peer_checkpoints(store.log, presence.published), publish=presence.publish)
    watch, people = unchecked(store.pool), store.people.reader
    return Transparency(store.pool, store.url, store.tree_follower, watch, SIGNER, folder, now, people, guard)


def grow(store: Store, count: int) -> None:
    for number in range(count):
        store.set(str(uuid4()), "openai", f"sk-live-{number:010}")
    store.follow()


def roll_back(store: Store, after: int) -> None:
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute("DELETE FROM keyledger_events WHERE notification_id > %s", [after])
        database.execute("ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only")
        database.execute("TRUNCATE audit_trail, transparency_log, projection_positions")


def publish(store: Store, checkpoint: str) -> None:
    """As anyone may who may write to the table."""
    with store.superuser() as database:
        database.execute(
            "INSERT INTO nodes (node_id, name, process, primary_key_id, key_ids, version, checkpoint)"
            " VALUES (gen_random_uuid(), 'evil \x1b[2J', '', '', '{}', '', %s)",
            [checkpoint],
        )


def test_nodes_that_see_one_log_sign_in_turn(store: Store, tmp_path: Path) -> None:
    one, other = node(store, tmp_path / "one"), node(store, tmp_path / "other")
    for size in (2, 4, 6):
        grow(store, 1)
        assert one.checkpoint().size == size - 1
        grow(store, 1)
        assert other.checkpoint().size == size
    assert one.untrusted_peers == other.untrusted_peers == 0


@pytest.mark.parametrize("later", [0, 5], ids=["shorter", "grown again"])
def test_a_node_with_a_new_folder_learns_from_another_that_the_log_was_taken_back(
    store: Store, tmp_path: Path, later: int
) -> None:
    one = node(store, tmp_path / "one")
    grow(store, 4)
    one.checkpoint()
    roll_back(store, 2)
    grow(store, later)
    with pytest.raises(CheckpointRefusedError, match="a checkpoint that another node signed"):
        node(store, tmp_path / "new").checkpoint()
    assert not (tmp_path / "new" / "checkpoints" / "last").exists()
    with pytest.raises(StartError, match=r"a checkpoint that another node signed.*keyledger restore accept"):
        require_peers_agree(store.pool, store.log, SIGNER)


def test_a_beat_publishes_a_removed_checkpoint_again(store: Store, tmp_path: Path) -> None:
    presence = Presence(store.pool)
    presence.beat(OLD)
    presence.publish("a note")
    with store.superuser() as database:
        database.execute("TRUNCATE nodes")
    presence.beat(OLD)
    with store.pool.connection() as connection:
        assert [note for _, note in published_checkpoints(connection)] == ["a note"]


def _damaged(store: Store, note: str) -> str:
    return note.replace("\n4\n", "\n400\n")


def _of_another_key(store: Store, note: str) -> str:
    stranger = LogSigner(generate_signing_key("log.test")).of_ledger(LEDGER_ID)
    return signed([b"x"] * 400, stranger).decode()


def _of_another_ledger(store: Store, note: str) -> str:
    return signed([b"x"] * 400, SIGNER.of_ledger(str(uuid4()))).decode()


def _under_another_origin(store: Store, note: str) -> str:
    """Signed with this key over the text of another log."""
    text = signed([b"x"] * 400, SIGNER).decode()
    return text.replace(f"{SIGNER.name} ", f"{OWN.name} ")


@pytest.mark.parametrize(
    "forge",
    [
        _damaged,
        _of_another_key,
        _of_another_ledger,
        _under_another_origin,
        lambda store, note: "no note",
        lambda store, note: "",
        lambda store, note: "\n\n\N{EM DASH} " * 10_000,
    ],
    ids=["damaged", "another key", "another ledger", "another origin", "no note", "empty", "long"],
)
def test_a_checkpoint_that_this_key_did_not_sign_for_this_ledger_is_named_and_stops_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, forge: Callable[[Store, str], str]
) -> None:
    one = node(store, tmp_path / "one")
    grow(store, 4)
    publish(store, forge(store, one.checkpoint().note))
    grow(store, 1)
    assert node(store, tmp_path / "other").checkpoint().size == 5
    assert one.checkpoint().size == 5
    assert one.untrusted_peers == 1
    assert "evil" in caplog.text
    assert "\x1b" not in caplog.text
    require_peers_agree(store.pool, store.log, SIGNER)


def test_an_old_checkpoint_of_this_log_stops_nothing(store: Store, tmp_path: Path) -> None:
    one = node(store, tmp_path / "one")
    grow(store, 2)
    old = one.checkpoint().note
    grow(store, 2)
    publish(store, old)
    assert one.checkpoint().size == 4
    assert one.untrusted_peers == 0


@pytest.mark.parametrize("grown", [0, 1, 7], ids=["shorter", "shorter, grown", "longer"])
def test_a_checkpoint_of_the_log_that_an_operator_gave_up_stops_nothing(
    store: Store, tmp_path: Path, grown: int
) -> None:
    before = node(store, tmp_path / "before")
    given_up = []
    for _ in range(5):
        grow(store, 1)
        given_up.append(before.checkpoint())
    with store.superuser() as database:
        database.execute("TRUNCATE nodes")
    roll_back(store, 2)
    grow(store, grown)
    meta = CommandMeta("anna", "req-1", "cmd-1")
    store.log.append([accept_restore(store.log.last(RESTORE_STREAM), 5, 2 + grown, None, meta, now())])
    store.follow()
    for one in given_up:
        publish(store, one.note)
    after = node(store, tmp_path / "after")
    assert after.checkpoint().size == 3 + grown
    grow(store, 9)
    assert after.checkpoint().size == 12 + grown
    require_peers_agree(store.pool, store.log, SIGNER)
    roll_back(store, 4)
    with pytest.raises(CheckpointRefusedError, match="a checkpoint that another node signed"):
        node(store, tmp_path / "new").checkpoint()


def test_what_was_verified_once_is_not_verified_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = node(store, tmp_path / "one")
    grow(store, 2)
    one.checkpoint()
    peers = PeerCheckpoints(published_checkpoints, list)
    with store.pool.connection() as connection:
        assert peers.contradiction(connection, OWN) is None
        monkeypatch.setattr("keyledger.proofs.peer_checkpoints.verifier_of", None)
        assert peers.contradiction(connection, OWN) is None


def test_a_node_that_starts_late_with_a_new_folder_does_not_serve_a_log_that_another_saw_longer(
    database_url: str, tmp_path: Path
) -> None:
    def settings(name: str) -> dict[str, str]:
        own = {"DATA_DIR": str(tmp_path / name), "AUDIT_SIGNING_KEY": KEY.reveal()}
        return environment(AI_MODELS_FILE=DIRECT_MODELS, **own)

    with served(database_url, settings("one")) as url, client_of(url) as client, open_store(database_url) as store:
        for _ in range(3):
            assert client.put(str(uuid4()), "openai", api_key="sk-live-0123456789").status_code == 200
        assert client.http.get("/api/v1/audit/checkpoint").status_code == 200
        roll_back(store, 2)
        with store.superuser() as database:
            database.execute("DELETE FROM current_credentials")
        with (
            pytest.raises(StartError, match="a checkpoint that another node signed"),
            served(database_url, settings("new")),
        ):
            pass
        while client.http.get("/readyz").status_code != 503:  # until the background has met it
            pass
