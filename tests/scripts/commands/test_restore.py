"""An older backup, restored with PostgreSQL's own tools: noticed, refused, accepted, recorded."""

import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from domain.proofs.checkpoint import parse_checkpoint
from domain.proofs.signed_note import parse_note
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.proofs.checkpoint_file import FOLDER, CheckpointFile
from keyledger.proofs.signing_keys import generate_signing_key
from keyledger.start_error import StartError
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli
from tests.support.checker import check
from tests.support.postgres import programs
from tests.support.service import client_of, environment, served
from tests.support.store import open_store

FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"
SIGNING_KEY = generate_signing_key("log.test").reveal()


def settings_of(database_url: str, folder: Path) -> dict[str, str]:
    return environment(DATABASE_URL=database_url, DATA_DIR=str(folder / "data"))


def put(database_url: str, settings: dict[str, str], *tenants: str) -> None:
    with served(database_url, settings) as url, client_of(url) as client:
        for tenant in tenants:
            assert client.put(tenant, "openai", api_key=f"sk-live-{tenant}").status_code == 200


def dump(database_url: str, target: Path) -> None:
    _program("pg_dump", "--format=custom", f"--file={target}", database_url)


def restore(database_url: str, source: Path) -> None:
    """Into a database that was made again under the same name."""
    name = urlsplit(database_url).path.lstrip("/")
    with psycopg.connect(_maintenance(database_url), autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    _program("pg_restore", "--exit-on-error", f"--dbname={database_url}", str(source))


def _maintenance(database_url: str) -> str:
    return urlsplit(database_url)._replace(path="/postgres").geturl()


def _program(name: str, *arguments: str) -> None:
    done = subprocess.run([programs() / name, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_older_backup_is_refused_until_an_operator_accepts_it(
    cli: Cli, database_url: str, bare_environment: Path
) -> None:
    settings = settings_of(database_url, bare_environment)
    put(database_url, settings, FIRST)
    dump(database_url, bare_environment / "backup")
    put(database_url, settings, SECOND)
    before = AnchorFile(bare_environment / "data").read()
    assert before is not None
    restore(database_url, bare_environment / "backup")

    with pytest.raises(StartError, match="an older backup was restored"):
        put(database_url, settings)
    unasked = cli("restore", "accept", env=settings)
    assert (unasked.code, unasked.out) == (Exit.USAGE, "")
    assert f"position {before.position} was recorded" in unasked.err
    with pytest.raises(StartError):
        put(database_url, settings)

    accepted = cli("restore", "accept", "--yes", "--json", env=settings)
    assert accepted.code == Exit.OK, accepted.err
    answer = json.loads(accepted.out)
    positions = {"from_position": before.position, "to_position": answer["to_position"]}
    assert answer == {"accepted": True, **positions, "from_ledger_id": None}
    assert 0 < answer["to_position"] < before.position

    with served(database_url, settings) as url, client_of(url) as client:
        assert client.http.get("/readyz").json()["checks"]["log"]["ok"]
        entries = client.http.get("/api/v1/audit/entries").json()["entries"]
        recorded = next(entry for entry in entries if entry["action"] == "restore-accepted")
        assert recorded["details"] == positions
        assert recorded["actor"].startswith("cli")
        assert recorded["tenant_id"] is None
        assert client.put(SECOND, "openai", api_key="sk-live-again-0001").status_code == 200
    with open_store(database_url) as store:
        check(store)


def test_a_restore_that_is_complete_needs_no_acceptance(cli: Cli, database_url: str, bare_environment: Path) -> None:
    settings = settings_of(database_url, bare_environment)
    put(database_url, settings, FIRST, SECOND)
    dump(database_url, bare_environment / "backup")
    restore(database_url, bare_environment / "backup")
    put(database_url, settings)
    nothing = cli("restore", "accept", "--yes", "--json", env=settings)
    assert (nothing.code, json.loads(nothing.out)["accepted"]) == (Exit.OK, False)
    with open_store(database_url) as store:
        assert [entry.action.value for entry in store.audit() if entry.tenant_id is None].count("restore-accepted") == 0


def test_each_restore_that_is_accepted_is_an_event_of_its_own(
    cli: Cli, database_url: str, bare_environment: Path
) -> None:
    settings = settings_of(database_url, bare_environment)
    put(database_url, settings, FIRST)
    dump(database_url, bare_environment / "backup")
    put(database_url, settings, SECOND)
    restore(database_url, bare_environment / "backup")
    other_node = settings | {"DATA_DIR": str(bare_environment / "other")}
    (bare_environment / "other").mkdir()
    (bare_environment / "other" / "log-anchor.json").write_bytes(
        (bare_environment / "data" / "log-anchor.json").read_bytes()
    )
    assert cli("restore", "accept", "--yes", env=settings).code == Exit.OK
    with pytest.raises(StartError):
        put(database_url, other_node)
    assert cli("restore", "accept", "--yes", env=other_node).code == Exit.OK
    put(database_url, other_node)
    put(database_url, settings)
    with open_store(database_url) as store:
        versions = [entry.version for entry in store.audit() if entry.action.value == "restore-accepted"]
        assert versions == [1, 2]
        check(store)


def test_a_folder_is_bound_to_one_ledger_until_an_operator_accepts_another(
    cli: Cli, database_url: str, empty_database_url: str, bare_environment: Path
) -> None:
    here = settings_of(database_url, bare_environment)
    put(database_url, here, FIRST, SECOND)
    before = AnchorFile(bare_environment / "data").read()
    assert before is not None
    elsewhere = settings_of(empty_database_url, bare_environment)
    with pytest.raises(StartError, match=r"DATA_DIR belongs to the ledger .* set DATA_DIR to another folder"):
        put(empty_database_url, elsewhere)
    assert AnchorFile(bare_environment / "data").read() == before
    put(empty_database_url, elsewhere | {"DATA_DIR": str(bare_environment / "own")}, FIRST)
    put(database_url, here)

    accepted = cli("restore", "accept", "--yes", "--json", env=elsewhere)
    assert accepted.code == Exit.OK, accepted.err
    assert json.loads(accepted.out)["from_ledger_id"] == before.ledger_id
    put(empty_database_url, elsewhere)
    with pytest.raises(StartError, match=f"but the database holds the ledger {before.ledger_id}"):
        put(database_url, here)
    with open_store(empty_database_url) as store:
        (entry,) = (entry for entry in store.audit() if entry.action.value == "restore-accepted")
        assert entry.details["from_ledger_id"] == before.ledger_id
        check(store)


def test_signing_goes_on_after_a_restore_was_accepted_and_the_checkpoint_stays_aside(
    cli: Cli, database_url: str, bare_environment: Path
) -> None:
    settings = settings_of(database_url, bare_environment) | {"AUDIT_SIGNING_KEY": SIGNING_KEY}
    put(database_url, settings, FIRST)
    dump(database_url, bare_environment / "backup")
    put(database_url, settings, SECOND)
    folder = bare_environment / "data" / FOLDER
    (kept,) = (path for path in folder.iterdir() if path.suffix != ".lock")
    before = kept.read_bytes()
    size = parse_checkpoint(parse_note(before).text).size
    restore(database_url, bare_environment / "backup")

    assert cli("restore", "accept", "--yes", env=settings).code == Exit.OK
    assert kept.with_name(f"{kept.name}.given-up-at-{size}").read_bytes() == before
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.http.get("/api/v1/audit/checkpoint").status_code == 200
        assert client.http.get("/readyz").json()["checks"]["transparency_log"]["ok"]
    assert kept.read_bytes() != before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_giving_up_the_checkpoint_leaves_the_start_refused_and_accepting_again_mends_it(
    database_url: str, bare_environment: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli, moment: str
) -> None:
    settings = settings_of(database_url, bare_environment) | {"AUDIT_SIGNING_KEY": SIGNING_KEY}
    put(database_url, settings, FIRST)
    dump(database_url, bare_environment / "backup")
    put(database_url, settings, SECOND)
    restore(database_url, bare_environment / "backup")
    whole = CheckpointFile.give_up

    def crash(self: CheckpointFile) -> None:
        if moment == "after":
            whole(self)
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFile, "give_up", crash)
        ended = cli("restore", "accept", "--yes", env=settings)
    assert ended.code == Exit.REFUSED
    assert "the service still does not start" in ended.err
    with pytest.raises(StartError):
        put(database_url, settings)
    assert cli("restore", "accept", "--yes", env=settings).code == Exit.OK
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.http.get("/api/v1/audit/checkpoint").status_code == 200


@pytest.mark.parametrize("projection", ["audit_trail", "transparency_log"])
@pytest.mark.parametrize("moved", [1000, 1, -1])
def test_a_position_that_was_moved_is_not_accepted_but_replayed(
    cli: Cli, database_url: str, bare_environment: Path, projection: str, moved: int
) -> None:
    settings = settings_of(database_url, bare_environment)
    put(database_url, settings, FIRST)
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "UPDATE projection_positions SET position = position + %s WHERE projection = %s", [moved, projection]
        )
    with pytest.raises(StartError, match=f"keyledger replay --projection {projection} --yes"):
        put(database_url, settings)
    refused = cli("restore", "accept", "--yes", env=settings)
    assert refused.code == Exit.REFUSED, refused.err
    replayed = cli("replay", "--projection", projection, "--yes", env=settings)
    assert replayed.code == Exit.OK, replayed.err
    put(database_url, settings, SECOND)
    with open_store(database_url) as store:
        check(store)
