"""`audit generate-signing-key|public-key|bundle|verify|witness` against a real service that signs."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.credentials.secret import Secret
from domain.proofs.checkpoint import parse_checkpoint
from domain.proofs.signed_note import open_note, parse_note
from keyledger.proofs.checkpoint_file import FOLDER
from keyledger.proofs.signing_keys import LogSigner, WitnessSigner, generate_signing_key, verifier_of
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Ask, Cli, Ended
from tests.support.command_line import command
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served
from tests.support.store import LEDGER_ID

TENANT, OTHER = str(uuid4()), str(uuid4())
KEY, STRANGER, WITNESS = (generate_signing_key(name) for name in ("log.test", "log.test", "witness.test"))
VKEY, STRANGE_VKEY = (LogSigner(key).of_ledger(LEDGER_ID).vkey for key in (KEY, STRANGER))
WITNESS_VKEY = WitnessSigner(WITNESS).vkey


@contextmanager
def signing(database_url: str, **settings: str) -> Iterator[Client]:
    with ExitStack() as stack:
        found = environment(AUDIT_SIGNING_KEY=KEY.reveal(), **settings)
        yield stack.enter_context(client_of(stack.enter_context(served(database_url, found))))


@contextmanager
def changed(database_url: str, data_dir: Path) -> Iterator[Client]:
    """A service that signs, with the changes of two tenants."""
    with signing(database_url, DATA_DIR=str(data_dir)) as client:
        for tenant in (TENANT, OTHER, TENANT):
            assert client.put(tenant, "openai", api_key=f"sk-live-{uuid4().hex}").status_code == 200
        yield client


@pytest.fixture
def client(database_url: str, bare_environment: Path) -> Iterator[Client]:
    with changed(database_url, bare_environment / "data") as client:
        yield client


@pytest.fixture(scope="module")
def taken(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a full bundle and of one of a tenant, for tests that need no service."""
    folder = tmp_path_factory.mktemp("taken")
    with postgres_server.fresh_database() as url, changed(url, folder / "data") as client:
        env = {"KEYLEDGER_URL": str(client.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
        for arguments in (("-o", "bundle"), ("--tenant", TENANT, "-o", "mine")):
            ended = command(folder, env, "audit", "bundle", *arguments)
            assert ended.code == Exit.OK, ended.err
    return folder


@pytest.fixture
def bundle(ask: Ask) -> Path:
    """A full bundle."""
    assert ask("audit", "bundle", "--output", "bundle").code == Exit.OK
    return Path("bundle")


def size_of(checkpoint: bytes) -> int:
    return parse_checkpoint(parse_note(checkpoint).text).size


class TestKeys:
    def test_a_new_key_signs_under_the_name_it_was_given(self, cli: Cli) -> None:
        made = cli("audit", "generate-signing-key", "--name", "ledger.example")
        assert made.code == Exit.OK
        shown = cli("audit", "public-key", "--ledger", LEDGER_ID, env={"AUDIT_SIGNING_KEY": made.out.strip()})
        assert shown.out.strip() == LogSigner(Secret(made.out.strip())).of_ledger(LEDGER_ID).vkey
        assert shown.out.startswith(f"ledger.example/{LEDGER_ID}+")

    def test_the_ledger_is_that_which_data_dir_is_bound_to(self, cli: Cli, client: Client) -> None:
        env = {"AUDIT_SIGNING_KEY": KEY.reveal(), "DATA_DIR": "data"}
        assert cli("audit", "public-key", env=env).out.strip() == VKEY
        unbound = cli("audit", "public-key", env={**env, "DATA_DIR": "elsewhere"})
        assert (unbound.code, unbound.out) == (Exit.USAGE, "")
        assert "elsewhere knows no ledger yet" in unbound.err

    def test_two_keys_without_a_name_differ_in_both(self, cli: Cli) -> None:
        one, other = (cli("audit", "generate-signing-key").out for _ in range(2))
        assert one.split("+")[2] != other.split("+")[2]
        assert one != other

    def test_a_key_is_read_from_dot_env_or_from_a_file(self, cli: Cli, bare_environment: Path) -> None:
        (bare_environment / ".env").write_text(f"AUDIT_SIGNING_KEY={KEY.reveal()}\n")
        (bare_environment / "witness-key").write_text(f"{WITNESS.reveal()}\n")
        assert cli("audit", "public-key", "--ledger", LEDGER_ID).out.strip() == VKEY
        ended = cli("audit", "public-key", "--key-file", "witness-key", "--witness")
        assert ended.out.strip() == WITNESS_VKEY

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("generate-signing-key", "--name", "two words"), "--name"),
            (("generate-signing-key", "--name", "a+b"), "--name"),
            (("public-key",), "AUDIT_SIGNING_KEY is not set; create one with"),
            (("public-key", "--key-file", "nothing"), "key file cannot be read"),
        ],
    )
    def test_wrong_usage_is_named(self, cli: Cli, arguments: tuple[str, ...], said: str) -> None:
        ended = cli("audit", *arguments)
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert said in ended.err

    def test_a_key_that_is_none_is_not_repeated(self, cli: Cli) -> None:
        ended = cli("audit", "public-key", env={"AUDIT_SIGNING_KEY": "PRIVATE+KEY+log+00000000+c2VjcmV0"})
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert "c2VjcmV0" not in ended.err


class TestFullBundle:
    @pytest.fixture
    def bundle(self, taken: Path, bare_environment: Path) -> Path:
        """A full bundle."""
        shutil.copytree(taken / "bundle", "bundle")
        return Path("bundle")

    def test_it_holds_and_says_what_it_shows(self, cli: Cli, bundle: Path) -> None:
        ended = cli("audit", "verify", str(bundle), "--public-key", VKEY)
        assert ended.code == Exit.OK, ended.err
        size = size_of((bundle / "checkpoint").read_bytes())
        assert f"All {size} records" in ended.out
        assert ended.out.rstrip().endswith("The evidence holds.")
        assert json.loads(cli("audit", "verify", str(bundle), "--public-key", VKEY, "--json").out)["size"] == size

    def test_taking_it_is_its_last_record(self, bundle: Path) -> None:
        (entries,) = (bundle / "tile" / "entries").rglob("*.p/*")
        last = entries.read_bytes().rpartition(b'{"actor"')[2]
        assert b'"details":{"format":"evidence"}' in last
        assert b'"source":"cli"' in last

    def test_verifying_needs_no_setting_and_no_service(self, cli: Cli, bundle: Path) -> None:
        assert not {name for name in os.environ if "KEY" in name}
        assert cli("audit", "verify", str(bundle), "--public-key", VKEY).code == Exit.OK

    def test_with_plain_the_verdict_is_the_same_without_the_quick_reader(
        self, cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick = cli("audit", "verify", str(bundle), "--public-key", VKEY, "--json")
        monkeypatch.setitem(sys.modules, "keyledger.quick_records", None)
        plain = cli("audit", "verify", str(bundle), "--public-key", VKEY, "--json", "--plain")
        assert (plain.code, plain.out) == (Exit.OK, quick.out)

    def test_what_was_changed_is_named_by_its_position(self, cli: Cli, bundle: Path) -> None:
        (entries,) = (bundle / "tile" / "entries").rglob("*.p/*")
        entries.write_bytes(entries.read_bytes().replace(b'"provider":"openai"', b'"provider":"mistra"', 1))
        ended = cli("audit", "verify", str(bundle), "--public-key", VKEY)
        assert ended.code == Exit.ERROR_FOUND
        assert "FAILED" in ended.out
        answer = json.loads(cli("audit", "verify", str(bundle), "--public-key", VKEY, "--json").out)
        assert answer["holds"] is False
        position = answer["fault"]["position"]
        assert isinstance(position, int)
        assert re.search(rf"\b{position}\b", ended.out)

    def test_the_key_of_another_log_does_not_fit(self, cli: Cli, bundle: Path) -> None:
        ended = cli("audit", "verify", str(bundle), "--public-key", STRANGE_VKEY)
        assert ended.code == Exit.ERROR_FOUND
        assert "cannot be trusted" in ended.out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("nowhere", "--public-key", VKEY), "nowhere is not a folder"),
            (("bundle", "--public-key", "nonsense"), "--public-key"),
            (("bundle", "--public-key", WITNESS_VKEY), "not that of a log"),
            (("bundle", "--public-key", VKEY, "--witness", VKEY), "not that of a witness"),
            (("bundle", "--public-key", VKEY, "--since", "nothing"), "--since: nothing cannot be read"),
            (("bundle",), "--public-key"),
        ],
    )
    def test_wrong_usage_is_named(self, cli: Cli, bundle: Path, arguments: tuple[str, ...], said: str) -> None:
        ended = cli("audit", "verify", *arguments)
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert said in ended.err


class TestSince:
    def test_a_later_bundle_goes_on_from_the_checkpoint_that_was_kept(
        self, cli: Cli, ask: Ask, client: Client, bundle: Path
    ) -> None:
        kept = bundle.joinpath("checkpoint").rename("kept")
        client.delete(TENANT, "openai")
        ask("audit", "bundle", "-o", "later")
        ended = cli("audit", "verify", "later", "--public-key", VKEY, "--since", str(kept))
        assert ended.code == Exit.OK
        size = size_of(kept.read_bytes())
        assert f"The first {size} records are those of the older checkpoint" in ended.out

    def test_an_older_bundle_is_told_from_a_newer_checkpoint(
        self, cli: Cli, ask: Ask, client: Client, bundle: Path
    ) -> None:
        ask("audit", "bundle", "-o", "later")
        ended = cli("audit", "verify", str(bundle), "--public-key", VKEY, "--since", "later/checkpoint")
        assert ended.code == Exit.ERROR_FOUND
        assert "records were removed" in ended.out

    def test_a_log_that_began_anew_is_found(self, cli: Cli, bundle: Path, empty_database_url: str) -> None:
        """Another database, the same signing key: as an operator who wants to forget would do it."""
        with signing(empty_database_url) as client:
            for _ in range(6):
                client.put(TENANT, "openai", api_key=f"sk-live-{uuid4().hex}")
            env = {"KEYLEDGER_URL": str(client.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
            assert cli("audit", "bundle", "-o", "again", env=env).code == Exit.OK
        origin = parse_checkpoint(parse_note(Path("again/checkpoint").read_bytes()).text).origin
        alone = cli("audit", "verify", "again", "--public-key", VKEY)
        assert alone.code == Exit.ERROR_FOUND
        assert f"it is of the log {origin}, and the key is that of the log" in " ".join(alone.out.split())
        own = LogSigner(KEY).of_ledger(origin.rpartition("/")[2]).vkey
        assert cli("audit", "verify", "again", "--public-key", own).code == Exit.OK
        ended = cli("audit", "verify", "again", "--public-key", own, "--since", str(bundle / "checkpoint"))
        assert ended.code == Exit.ERROR_FOUND
        assert "The older checkpoint was not signed by this key: it is of the log" in " ".join(ended.out.split())


class TestBundleOfATenant:
    @pytest.fixture
    def mine(self, taken: Path, bare_environment: Path) -> None:
        """A bundle of the tenant, in the present folder."""
        shutil.copytree(taken / "mine", "mine")

    @pytest.mark.usefixtures("mine")
    def test_it_holds_and_has_the_tenants_records_alone(self, cli: Cli) -> None:
        records = [json.loads(line) for line in Path("mine/records.jsonl").read_text().splitlines()]
        assert {json.loads(record["leaf"])["tenant_id"] for record in records} == {TENANT}
        assert len(records) == 2
        ended = cli("audit", "verify", "mine", "--public-key", VKEY)
        assert ended.code == Exit.OK
        assert f"2 records of tenant {TENANT}" in ended.out
        assert OTHER.encode() not in b"".join(path.read_bytes() for path in Path("mine").rglob("*") if path.is_file())

    @pytest.mark.usefixtures("mine")
    def test_a_record_of_it_that_was_changed_is_named(self, cli: Cli) -> None:
        records = Path("mine/records.jsonl")
        records.write_text(records.read_text().replace('\\"role\\":\\"sysadmin\\"', '\\"role\\":\\"operator\\"', 1))
        ended = cli("audit", "verify", "mine", "--public-key", VKEY)
        assert ended.code == Exit.ERROR_FOUND
        assert "FAILED" in ended.out

    def test_what_is_no_tenant_is_refused_and_leaves_nothing(self, ask: Ask, bare_environment: Path) -> None:
        ended = ask("audit", "bundle", "--tenant", "acme", "-o", "mine")
        assert ended.code == Exit.REFUSED
        assert "tenant_id" in ended.err
        assert {path.name for path in bare_environment.iterdir()} <= {"data"}


class TestTaking:
    def test_a_folder_with_something_in_it_is_left_as_it_is(self, ask: Ask) -> None:
        Path("full").mkdir()
        Path("full/file").write_text("mine")
        ended = ask("audit", "bundle", "-o", "full")
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert "--output: the folder is not empty" in ended.err
        assert [path.name for path in Path("full").iterdir()] == ["file"]

    def test_a_place_that_cannot_be_written_is_named(self, ask: Ask) -> None:
        Path("file").write_text("")
        ended = ask("audit", "bundle", "-o", "file/bundle")
        assert (ended.code, ended.out) == (Exit.REFUSED, "")
        assert "--output" in ended.err

    @pytest.mark.parametrize("noticed", [False, True], ids=["before the service noticed", "after the service noticed"])
    def test_an_event_that_was_changed_leaves_no_bundle_and_is_named(
        self, ask: Ask, database_url: str, bare_environment: Path, client: Client, noticed: bool
    ) -> None:
        assert client.http.get("/api/v1/audit/checkpoint").status_code == 200
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
            changed = database.execute(
                "UPDATE keyledger_events SET state = convert_to(replace(convert_from(state, 'UTF8'),"
                " 'sysadmin', 'operator'), 'UTF8') WHERE topic = 'CredentialSet' AND originator_version = 2"
                " RETURNING notification_id"
            ).fetchone()
        assert changed is not None
        while noticed and client.http.get("/readyz").status_code == 200:
            continue  # until the service has compared its log with its tree
        for wanted in ((), ("--tenant", TENANT)):
            ended = ask("audit", "bundle", "-o", "bundle", *wanted)
            assert ended.code == Exit.ERROR_FOUND
            assert str(changed[0]) in ended.err
            assert "no bundle was written" in ended.err
            assert not Path("bundle").exists()

    def test_a_service_that_does_not_sign_says_so(self, cli: Cli, database_url: str) -> None:
        with served(database_url, environment()) as url:
            env = {"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": ADMIN_KEY}
            ended = cli("audit", "bundle", "-o", "bundle", env=env)
        assert ended.code == Exit.REFUSED
        assert "signing-off" in ended.err
        assert "AUDIT_SIGNING_KEY" in ended.err

    def test_a_service_that_is_not_there_is_told(self, cli: Cli) -> None:
        env = {"KEYLEDGER_URL": "http://127.0.0.1:1", "KEYLEDGER_API_KEY": ADMIN_KEY}
        assert cli("audit", "bundle", "-o", "bundle", env=env).code == Exit.UNREACHABLE


class TestWitness:
    @pytest.fixture
    def witness(self, ask: Ask) -> Callable[..., Ended]:
        Path("witness-key").write_text(WITNESS.reveal())
        fixed = ("--public-key", VKEY, "--key-file", "witness-key", "--state", "seen/last")
        return lambda *arguments: ask("audit", "witness", *fixed, *arguments)

    def cosigned(self, ended: Ended) -> int:
        assert ended.code == Exit.OK, ended.err
        note = ended.out.encode()
        open_note(note, [verifier_of(VKEY), verifier_of(WITNESS_VKEY)])
        assert len(parse_note(note).signatures) == 2
        return size_of(note)

    def test_a_service_is_followed_and_the_last_checkpoint_kept(self, witness: Ask, client: Client) -> None:
        first = self.cosigned(witness())
        assert size_of(Path("seen/last").read_bytes()) == first
        client.delete(TENANT, "openai")
        assert self.cosigned(witness()) > first
        assert size_of(Path("seen/last").read_bytes()) > first

    def test_a_cosigned_checkpoint_satisfies_who_asks_for_the_witness(
        self, cli: Cli, witness: Ask, bundle: Path
    ) -> None:
        plain = cli("audit", "verify", str(bundle), "--public-key", VKEY, "--witness", WITNESS_VKEY)
        assert plain.code == Exit.ERROR_FOUND
        assert "not signed by witness.test" in plain.out
        assert witness("--bundle", str(bundle), "-o", "cosigned").out == ""
        Path("cosigned").replace(bundle / "checkpoint")
        ended = cli("audit", "verify", str(bundle), "--public-key", VKEY, "--witness", WITNESS_VKEY)
        assert ended.code == Exit.OK
        assert "witness.test" in ended.out

    def test_a_smaller_log_is_refused_and_nothing_changes(
        self, witness: Ask, client: Client, bundle: Path, bare_environment: Path
    ) -> None:
        client.delete(TENANT, "openai")
        self.cosigned(witness())
        before = Path("seen/last").read_bytes()
        ended = witness("--bundle", str(bundle))
        assert (ended.code, ended.out) == (Exit.ERROR_FOUND, "")
        assert "records were removed, or this is an old checkpoint" in ended.err
        assert Path("seen/last").read_bytes() == before

    def test_a_service_that_went_back_is_refused(
        self, cli: Cli, witness: Ask, client: Client, empty_database_url: str
    ) -> None:
        for number in range(3):
            client.put(TENANT, "mistral", api_key=f"sk-live-{number:010}")
        self.cosigned(witness())
        before = Path("seen/last").read_bytes()
        with signing(empty_database_url) as other:
            env = {"KEYLEDGER_URL": str(other.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
            arguments = ("--public-key", VKEY, "--key-file", "witness-key", "--state", "seen/last")
            ended = cli("audit", "witness", *arguments, env=env)
        assert ended.code == Exit.ERROR_FOUND
        assert Path("seen/last").read_bytes() == before

    def test_a_log_of_another_key_is_refused(self, ask: Ask, witness: Ask, bundle: Path) -> None:
        arguments = ("--public-key", STRANGE_VKEY, "--key-file", "witness-key", "--state", "state")
        ended = ask("audit", "witness", *arguments, "--bundle", str(bundle))
        assert ended.code == Exit.ERROR_FOUND
        assert not Path("state").exists()

    def test_a_state_that_cannot_be_kept_is_named(self, witness: Ask) -> None:
        Path("seen").write_text("")
        ended = witness()
        assert (ended.code, ended.out) == (Exit.REFUSED, "")
        assert "--state" in ended.err

    def test_a_key_that_is_none_is_named(self, ask: Ask, witness: Ask) -> None:
        Path("witness-key").write_text("nonsense")
        ended = witness()
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert "--key-file" in ended.err
        assert "nonsense" not in ended.err


def test_the_service_keeps_what_it_signs(client: Client, bare_environment: Path) -> None:
    given = client.http.get("/api/v1/audit/checkpoint").content
    (kept,) = (path for path in (bare_environment / "data" / FOLDER).iterdir() if path.suffix != ".lock")
    assert kept.read_bytes() == given
