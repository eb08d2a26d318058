"""`keyledger verify` on the database of a real service: in order, and after a superuser changed something."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.audit.request_events import audit_read
from domain.event_codec import encode
from keyledger.proofs.checkpoint_file import FOLDER
from keyledger.proofs.signing_keys import generate_signing_key
from projections.database import connection_check
from projections.database.attestation import attest
from projections.database.connections import Connection
from projections.database.findings import Finding
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli, Ended
from tests.support.postgres import TemplatedServer
from tests.support.rings import meta
from tests.support.service import client_of, environment, served
from tests.support.store import Store, open_store

FIRST, SECOND = str(uuid4()), str(uuid4())
Verify = Callable[..., Ended]


@pytest.fixture(scope="module")
def ended_node(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of a node that served two tenants, signed, and ended."""
    with postgres_server.fresh_database() as database_url:
        found = environment(
            DATABASE_URL=database_url,
            DATA_DIR=str(tmp_path_factory.mktemp("node") / "data"),
            AUDIT_SIGNING_KEY=generate_signing_key("log.test").reveal(),
        )
        with served(database_url, found) as url, client_of(url) as client:
            for tenant in (FIRST, SECOND):
                assert client.put(tenant, "openai", api_key=f"sk-live-{tenant}").status_code == 200
            assert client.put(FIRST, "openai", api_key="sk-live-replaced").status_code == 200
            assert client.http.get("/api/v1/audit/entries").status_code == 200  # so that the trail has them
        yield found


@pytest.fixture
def copied_url(ended_node: dict[str, str], postgres_server: TemplatedServer) -> Iterator[str]:
    """A copy of that node's database for each test."""
    with postgres_server.copy_of(ended_node["DATABASE_URL"]) as url:
        yield url


@pytest.fixture
def settings(ended_node: dict[str, str], copied_url: str, bare_environment: Path) -> dict[str, str]:
    """Its settings on the copy, with a copy of its folder."""
    folder = shutil.copytree(ended_node["DATA_DIR"], bare_environment / "data")
    return {**ended_node, "DATABASE_URL": copied_url, "DATA_DIR": str(folder)}


@pytest.fixture
def verify(cli: Cli, settings: dict[str, str]) -> Verify:
    return lambda *arguments: cli("verify", *arguments, env=settings)


def as_superuser(database_url: str, *statements: str) -> None:
    """Changes by an administrator of the database, who can switch triggers off."""
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        for statement in statements:
            assert database.execute(statement.encode()).rowcount != 0, statement
        database.execute("ALTER TABLE keyledger_events ENABLE TRIGGER ALL")


def test_a_store_that_is_in_order_has_every_part_counted(verify: Verify) -> None:
    ended = verify()
    assert ended.code == Exit.OK, ended.err
    numbers = dict(re.findall(r"^ *([a-z ]+?) {2,}(\S.*?) {2,}verified *$", ended.out, re.MULTILINE))
    events = numbers["events"]
    assert numbers == {
        "events": events,
        "codes of events": f"{events} of {events}",
        "hashes": events,
        "audit entries": events,
        "events under the last checkpoint": events,
        "places outside the database": "1",
        "streams": numbers["streams"],
        "live credentials": "2 of 2",
        "steps back in time": "0",
    }
    assert int(events) >= 5


def test_json_has_the_numbers_and_no_fault(verify: Verify) -> None:
    answer = json.loads(verify("--json").out)
    assert answer == {
        "holds": True,
        "events": answer["events"],
        "streams": answer["streams"],
        "credentials": 2,
        "codes_not_checked": 0,
        "bindings_not_checked": 0,
        "checkpoint_size": answer["events"],
        "steps_back": 0,
        "times_back": [],
        "fault": None,
    }


def append_at(store: Store, time: datetime) -> int:
    """Append an event as a node with the keys would whose append did not look at the time; return its position."""
    (event,), _ = store.people.sealer.sealed([audit_read(meta(), time, "entries", None)])
    state = encode(event)
    code = store.log.codes.code(event.originator_id, 1, event.TOPIC, state)
    assert code is not None
    with store.superuser() as database:
        row = database.execute(
            "INSERT INTO keyledger_events SELECT %s, 1, %s, %s, coalesce(max(notification_id), 0) + 1, %s, %s"
            " FROM keyledger_events RETURNING notification_id AS n",
            [event.originator_id, event.TOPIC, state, code.key_id, code.mac],
        ).fetchone()
    assert row is not None
    return int(str(row["n"]))


def test_each_event_that_is_earlier_than_the_one_before_it_is_named(
    cli: Cli, database_url: str, bare_environment: Path
) -> None:
    with open_store(database_url) as store:
        ahead, hour = datetime.now(UTC) + timedelta(hours=2), timedelta(hours=1)
        append_at(store, ahead)
        first, second = append_at(store, ahead - hour), append_at(store, ahead - 1.5 * hour)
        store.follow()
    settings = environment(DATABASE_URL=database_url, DATA_DIR=str(bare_environment / "data"))
    ended = cli("verify", env=settings)
    assert ended.code == Exit.ERROR_FOUND
    before = "s before that of the event before it"
    assert f"position {first}: its time is 3600.000000 {before}, the first of 2 such steps" in ended.err
    assert f"position {second}: its time is 1800.000000 {before}" in ended.err
    assert re.search(r"steps back in time +2 +FAULT", ended.out)
    answer = json.loads(cli("verify", "--json", env=settings).out)
    assert answer["fault"]["part"] == "times"
    assert answer["times_back"] == [{"position": first, "seconds": 3600.0}, {"position": second, "seconds": 1800.0}]


CHANGES = [
    pytest.param(
        "UPDATE keyledger_events SET state ="
        " convert_to(replace(convert_from(state, 'UTF8'), 'sysadmin', 'operator'), 'UTF8')"
        " WHERE topic = 'CredentialSet' AND originator_version = 2",
        "tree",
        "the event was changed after it was recorded",
        id="an event",
    ),
    pytest.param(
        "DELETE FROM keyledger_events WHERE topic = 'CredentialSet' AND originator_version = 2",
        "log",
        "events were removed",
        id="an event is gone",
    ),
    pytest.param(
        "UPDATE current_credentials SET endpoint = 'https://evil.example.com' WHERE version = 2",
        "current",
        "does not match its last event",
        id="a current credential",
    ),
    pytest.param(
        "DELETE FROM current_credentials WHERE version = 2", "current", "no row for it", id="a current credential gone"
    ),
    pytest.param(
        "UPDATE audit_trail SET actor = 'anna' WHERE action = 'replaced'",
        "trail",
        "does not match the event",
        id="an entry of the trail",
    ),
    pytest.param(
        "UPDATE transparency_log SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1)",
        "tree",
        "or the tree was",
        id="a leaf",
    ),
]


@pytest.mark.parametrize("flags", [(), ("--without-keys",)], ids=["with keys", "without keys"])
@pytest.mark.parametrize(("change", "part", "meaning"), CHANGES)
def test_a_change_by_a_superuser_is_named(
    verify: Verify, copied_url: str, change: str, part: str, meaning: str, flags: tuple[str, ...]
) -> None:
    as_superuser(copied_url, change)
    ended = verify(*flags)
    assert ended.code == Exit.ERROR_FOUND
    assert meaning in ended.err
    assert len(re.findall(r"FAULT", ended.out)) == 1
    answer = json.loads(verify("--json", *flags).out)
    assert (answer["holds"], answer["fault"]["part"]) == (False, part)
    assert meaning in answer["fault"]["meaning"]
    assert isinstance(answer["fault"]["position"], int)
    assert f"position {answer['fault']['position']}" in ended.err


def test_a_credential_is_named_by_tenant_and_provider(verify: Verify, copied_url: str) -> None:
    as_superuser(copied_url, "UPDATE current_credentials SET masked_key = '...0000' WHERE version = 2")
    assert f"tenant {FIRST}, provider openai" in verify().err


def test_everything_rewritten_contradicts_the_kept_checkpoint(verify: Verify, copied_url: str) -> None:
    as_superuser(
        copied_url,
        "DELETE FROM keyledger_events WHERE topic = 'CredentialSet' AND originator_version = 2",
        "UPDATE keyledger_events SET notification_id = (1::bigint << 40) + row"
        " FROM (SELECT notification_id AS old, row_number() OVER (ORDER BY notification_id) AS row"
        " FROM keyledger_events) AS o WHERE notification_id = o.old",
        "UPDATE keyledger_events SET notification_id = notification_id - (1::bigint << 40)",
        "TRUNCATE audit_trail, transparency_log",
        "UPDATE projection_positions SET position = 0",
    )
    answer = json.loads(verify("--json").out)
    assert answer["fault"]["part"] == "checkpoint"
    assert "events were removed" in answer["fault"]["meaning"]


def test_another_ledger_is_named_by_what_is_outside_the_database(
    verify: Verify, copied_url: str, settings: dict[str, str]
) -> None:
    with psycopg.connect(copied_url, autocommit=True) as database:
        database.execute("ALTER TABLE keyledger_ledger DISABLE TRIGGER ALL")
        database.execute("UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()")
        database.execute("ALTER TABLE keyledger_ledger ENABLE ALWAYS TRIGGER keyledger_ledger_append_only")
    by_checkpoint = verify("--json")
    assert by_checkpoint.code == Exit.ERROR_FOUND
    assert json.loads(by_checkpoint.out)["fault"]["part"] == "checkpoint"
    (Path(settings["DATA_DIR"]) / FOLDER / "last").unlink()
    by_anchor = json.loads(verify("--json", "--without-keys").out)["fault"]
    assert by_anchor["part"] == "anchor"
    assert "belongs to the ledger" in by_anchor["meaning"]


def test_a_checkpoint_that_cannot_be_read_is_a_fault(verify: Verify, settings: dict[str, str]) -> None:
    (kept,) = (path for path in (Path(settings["DATA_DIR"]) / FOLDER).iterdir() if path.suffix != ".lock")
    kept.write_bytes(b"no checkpoint")
    ended = verify()
    assert ended.code == Exit.ERROR_FOUND
    assert "cannot be read" in ended.err


def test_without_keys_only_the_database_is_needed_and_bindings_are_said_to_be_open(
    cli: Cli, settings: dict[str, str]
) -> None:
    bare = {name: settings[name] for name in ("DATABASE_URL", "DATA_DIR")}
    ended = cli("verify", "--without-keys", env=bare)
    assert ended.code == Exit.OK, ended.err
    assert "0 of 2" in ended.out
    assert (
        "2 live credentials are sealed under keys that are not configured; their bindings were not verified"
        in ended.err
    )
    assert json.loads(cli("verify", "--without-keys", "--json", env=bare).out)["bindings_not_checked"] == 2


def test_a_database_that_is_not_there_is_told(cli: Cli, bare_environment: Path) -> None:
    ended = cli("verify", "--without-keys", env={"DATABASE_URL": "postgresql://127.0.0.1:1/none"})
    assert (ended.code, ended.out) == (Exit.UNREACHABLE, "")


@pytest.mark.parametrize("options", [(), ("--without-keys",)], ids=["with keys", "without keys"])
def test_the_store_is_attested_once(verify: Verify, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    attested: list[object] = []

    def counting(connection: Connection, *, newer: bool) -> Sequence[Finding]:
        attested.append(connection)
        return attest(connection, newer=newer)

    monkeypatch.setattr(connection_check, "attest", counting)
    assert verify(*options).code == Exit.OK
    assert len(attested) == 1
