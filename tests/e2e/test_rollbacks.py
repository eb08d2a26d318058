"""A ledger that is taken back or replaced by someone with every right in the database: refused, named, never signed.

Each attack is carried out on a stopped and on a running service that signs. Refused means that the start fails, and
that the running service is not ready and signs nothing; the files outside the database stay as they were.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyledger.log.anchors import watch as anchor_watch
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.proofs import signing_loop
from keyledger.proofs.checkpoint_file import CheckpointFile
from keyledger.proofs.signing_keys import generate_signing_key
from keyledger.start_error import StartError
from projections.database.connections import Connection
from tests.support.service import DIRECT_MODELS, Client, client_of, environment, served
from tests.support.store import open_store

TENANT, OTHER, LATER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
SIGNING_KEY = generate_signing_key("log.test").reveal()
OLD_KEY, NEW_KEY = "sk-OLD-compromised-0001", "sk-NEW-rotated-0002"


def _without_triggers(database: Connection) -> None:
    for table in ("keyledger_events", "keyledger_ledger"):
        database.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())


def _roll_back(database: Connection, *, follow: bool = True) -> None:
    """Remove everything after the first credential was set, put its row back, and empty what follows from the log."""
    row = database.execute(
        "SELECT notification_id AS n, originator_id AS stream FROM keyledger_events WHERE topic = 'CredentialSet'"
        " ORDER BY notification_id LIMIT 1"
    ).fetchone()
    assert row is not None
    _without_triggers(database)
    database.execute("DELETE FROM keyledger_events WHERE notification_id > %s", [row["n"]])
    database.execute("DELETE FROM current_credentials WHERE stream_id <> %s", [row["stream"]])
    database.execute(
        "UPDATE current_credentials AS c SET version = 1, token = e.s ->> 'token', binding = e.s ->> 'binding'"
        " FROM (SELECT convert_from(state, 'UTF8')::jsonb AS s FROM keyledger_events WHERE notification_id = %s) AS e",
        [row["n"]],
    )
    if follow:
        _empty_views(database)


def _empty_views(database: Connection) -> None:
    for table in ("audit_trail", "transparency_log", "projection_positions"):
        database.execute(f"DELETE FROM {table}".encode())  # TRUNCATE would deadlock with a service that follows the log


def _new_id(database: Connection) -> None:
    _without_triggers(database)
    database.execute("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")


def _new_id_and_rolled_back(database: Connection) -> None:
    _roll_back(database)
    _new_id(database)


def _grown_again(database: Connection) -> None:
    """Roll back, then append until the log is longer than before."""
    _roll_back(database)
    for _ in range(50):
        database.execute(
            "INSERT INTO keyledger_events (originator_id, originator_version, topic, state, notification_id)"
            " SELECT gen_random_uuid(), 1, topic, state, (SELECT max(notification_id) + 1 FROM keyledger_events)"
            " FROM keyledger_events WHERE topic = 'EncryptionKeyIntroduced' LIMIT 1"
        )


def _rewritten_actors(database: Connection) -> None:
    _without_triggers(database)
    database.execute(
        "UPDATE keyledger_events SET state ="
        ' regexp_replace(convert_from(state, \'UTF8\'), \'"actor":"[^"]*"\', \'"actor":"mallory"\')::bytea'
    )
    _empty_views(database)


def _one_rewritten_actor(database: Connection) -> None:
    """The first one, so that the recorded last event is unchanged."""
    _without_triggers(database)
    database.execute(
        "UPDATE keyledger_events SET state ="
        ' regexp_replace(convert_from(state, \'UTF8\'), \'"actor":"[^"]*"\', \'"actor":"mallory"\')::bytea'
        " WHERE notification_id = 1"
    )
    _empty_views(database)


def _new_id_and_rewritten_actors(database: Connection) -> None:
    _rewritten_actors(database)
    _new_id(database)


def _no_id(database: Connection) -> None:
    _without_triggers(database)
    database.execute("TRUNCATE keyledger_ledger")


def _everything_gone(database: Connection) -> None:
    _without_triggers(database)
    database.execute("TRUNCATE keyledger_events, current_credentials, nodes")
    _empty_views(database)
    _new_id(database)


def _moved_trail(database: Connection) -> None:
    database.execute("UPDATE projection_positions SET position = position + 1000000 WHERE projection = 'audit_trail'")


def _moved_trail_by_one(database: Connection) -> None:
    """The next event is then left out, and the position is right again."""
    database.execute("UPDATE projection_positions SET position = position + 1 WHERE projection = 'audit_trail'")


def _moved_tree(database: Connection) -> None:
    database.execute("UPDATE projection_positions SET position = position + 1 WHERE projection = 'transparency_log'")


def _only_events_rolled_back(database: Connection) -> None:
    _roll_back(database, follow=False)


ATTACKS: dict[str, Callable[[Connection], None]] = {
    "rolled back, views emptied": _roll_back,
    "rolled back, views as they were": _only_events_rolled_back,
    "rolled back, grown past its end": _grown_again,
    "rolled back, under a new id": _new_id_and_rolled_back,
    "a new id": _new_id,
    "no id": _no_id,
    "another, empty ledger": _everything_gone,
    "every actor rewritten": _rewritten_actors,
    "every actor rewritten, under a new id": _new_id_and_rewritten_actors,
    "the first actor rewritten": _one_rewritten_actor,
    "the position of the trail moved far": _moved_trail,
    "the position of the trail moved by one": _moved_trail_by_one,
    "the position of the tree moved": _moved_tree,
}


@contextmanager
def service(database_url: str, folder: Path, *, signs: bool = True) -> Iterator[Client]:
    signing = {"AUDIT_SIGNING_KEY": SIGNING_KEY} if signs else {}
    settings = environment(DATA_DIR=str(folder / "data"), AI_MODELS_FILE=DIRECT_MODELS, **signing)
    with served(database_url, settings) as url, client_of(url) as client:
        yield client


def fill(client: Client) -> None:
    """The tenant's key is rotated, another tenant's is deleted."""
    for tenant, key in ((TENANT, OLD_KEY), (OTHER, "sk-live-of-another-0003"), (TENANT, NEW_KEY)):
        assert client.put(tenant, "openai", api_key=key).status_code == 200
    assert client.delete(OTHER, "openai").status_code in {200, 204}


def outside(folder: Path) -> dict[str, bytes]:
    """The files outside the database."""
    files = [path for path in (folder / "data").rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.name: path.read_bytes() for path in files}


def carry_out(database_url: str, attack: Callable[[Connection], None]) -> None:
    with open_store(database_url) as store, store.superuser() as database, database.transaction():
        attack(database)
        for table in ("keyledger_events", "keyledger_ledger"):  # the start would miss them
            database.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only".encode())


@pytest.mark.parametrize("signs", [True, False], ids=["signing", "not signing"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_service_that_was_stopped_does_not_start_on_it(
    database_url: str, tmp_path: Path, attack: Callable[[Connection], None], signs: bool
) -> None:
    with service(database_url, tmp_path, signs=signs) as client:
        fill(client)
    before = outside(tmp_path)
    carry_out(database_url, attack)
    with (
        pytest.raises(StartError, match=r"recorded outside the database|DATA_DIR belongs to the ledger|claims to show"),
        service(database_url, tmp_path, signs=signs),
    ):
        pass
    assert outside(tmp_path) == before


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_running_service_stops_being_ready_and_signs_nothing(
    database_url: str, tmp_path: Path, attack: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loop in (signing_loop, anchor_watch):
        monkeypatch.setattr(loop, "TICK_S", 0.1)
    with service(database_url, tmp_path) as client:
        fill(client)
        assert client.http.get("/api/v1/audit/checkpoint").status_code == 200
        while (kept := CheckpointFile(tmp_path / "data").read()) is None or not _recorded(tmp_path, kept[1].size):
            assert client.http.get("/readyz").status_code == 200  # until the background has recorded the same
        before = outside(tmp_path)
        carry_out(database_url, attack)
        client.put(LATER, "openai", api_key="sk-live-after-all-0004")
        assert client.http.get("/readyz").status_code == 503
        refused = client.http.get("/api/v1/audit/checkpoint")
        assert refused.status_code == 500, refused.text
    assert outside(tmp_path) == before, "nothing was signed or recorded, at the end either"


def _recorded(folder: Path, position: int) -> bool:
    anchor = AnchorFile(folder / "data").read()  # no other file: the watch may just be renaming one
    return anchor is not None and anchor.tree_size == position
