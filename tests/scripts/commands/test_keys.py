"""`keys list|rotate|verify|retire` on a real database, and on the embedded one."""

import io
import json
import signal
import sys
from itertools import chain, repeat

import pytest

from domain.operations.rotation import RotationState
from keyledger.encryption.rotation_rows import RotationRows
from scripts.terminal.exits import Exit
from scripts.terminal.progress import ProgressDisplay
from tests.scripts.process import running
from tests.support.checker import check
from tests.support.loaded import packages_loaded_by
from tests.support.rings import BOTH, NEW, OLD, fill, tenants, under_keys
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

BEFORE = {"TENANT_CREDENTIALS_ENABLED": "true", "ENCRYPTION_KEY": ENCRYPTION_KEY.reveal()}
AMID = BEFORE | {
    "ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(),
    "ENCRYPTION_KEY_PREVIOUS": ENCRYPTION_KEY.reveal(),
}
HEAVY = {"fastapi", "pydantic", "litellm", "uvicorn", "httpx"}
AFTER = BEFORE | {"ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal()}


@pytest.fixture
def amid(database_url):
    """The environment of an operator who has given every service the new key, over five old credentials."""
    fill(database_url, 5)
    return AMID | {"DATABASE_URL": database_url}


def test_a_rotation_from_the_list_to_the_retired_key(cli, amid):
    listed = json.loads(cli("keys", "list", "--json", env=amid).out)
    assert [(one["key_id"], one["state"], one["live"], one["safe_to_remove"]) for one in listed] == [
        (NEW.primary_id, "primary", 0, False),
        (OLD.primary_id, "previous", 5, False),
    ]
    assert cli("keys", "verify", env=amid).code == Exit.ERROR_FOUND
    rotated = cli("keys", "rotate", "--yes", env=amid)
    assert rotated.code == Exit.OK, rotated.err
    assert "completed" in rotated.out
    old = json.loads(cli("keys", "list", "--json", env=amid).out)[1]
    assert (old["live"], old["superseded"], old["safe_to_remove"]) == (0, 5, True)
    verified = cli("keys", "verify", "--json", env=amid)
    assert verified.code == Exit.OK, verified.err
    assert (json.loads(verified.out)["holds"], json.loads(verified.out)["live"]) == (True, 5)
    retired = cli("keys", "retire", OLD.primary_id, "--yes", "--json", env=amid)
    assert retired.code == Exit.OK, retired.err
    assert json.loads(retired.out)["unrecoverable"] == 5
    assert "remove the key from ENCRYPTION_KEY_PREVIOUS" in retired.err
    table = cli("keys", "list", env=amid)
    assert "retired" in table.out
    assert "still configured" in table.out
    alone = json.loads(cli("keys", "list", "--json", env=AFTER | {"DATABASE_URL": amid["DATABASE_URL"]}).out)
    assert [(one["state"], one["safe_to_remove"]) for one in alone] == [("primary", False), ("retired", True)]
    with open_store(amid["DATABASE_URL"], NEW) as store:
        check(store)
        actors = {entry.actor for entry in store.audit() if entry.tenant_id is None}
    assert actors >= {"service"}
    assert any(actor is not None and actor.startswith("cli") for actor in actors)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(cli, amid):
    ended = cli("keys", "rotate", "--dry-run", "--json", env=amid)
    assert ended.code == Exit.OK, ended.err
    assert json.loads(ended.out) == {
        "key_id": NEW.primary_id,
        "credentials": 5,
        "obstacles": [],
        "dry_run": True,
    }
    with open_store(amid["DATABASE_URL"], BOTH) as store:
        assert under_keys(store) == {OLD.primary_id: 5}
        assert RotationRows(store.pool).latest() == []


@pytest.mark.parametrize("command", [("keys", "rotate"), ("keys", "retire", OLD.primary_id)])
def test_nothing_is_changed_without_a_confirmation(cli, amid, command):
    if command[1] == "retire":
        assert cli("keys", "rotate", "--yes", env=amid).code == Exit.OK
    ended = cli(*command, env=amid)
    assert ended.code == Exit.USAGE
    assert "--yes" in ended.err


def test_what_could_not_be_sealed_anew_is_named_and_the_code_says_so(cli, amid):
    lost = tenants(1)[0]
    with open_store(amid["DATABASE_URL"], BOTH) as store, store.superuser() as database:
        database.execute("UPDATE current_credentials SET key_id = 'kffffffffff' WHERE tenant_id = %s", [lost])
    ended = cli("keys", "rotate", "--yes", "--json", env=amid)
    assert ended.code == Exit.ERROR_FOUND
    told = json.loads(ended.out)
    assert (told["state"], told["reencrypted"], told["failed"]) == ("completed", 4, 1)
    assert told["unopened"] == [{"tenant_id": lost, "provider": "openai", "reason": "key-not-in-keyring"}]
    shown = cli("keys", "rotate", "--yes", env=amid)
    assert lost in shown.out
    assert cli("keys", "verify", env=amid).code == Exit.ERROR_FOUND


def test_a_key_that_is_still_needed_is_not_retired(cli, amid):
    ended = cli("keys", "retire", OLD.primary_id, "--yes", env=amid)
    assert ended.code == Exit.REFUSED
    assert "live credentials are sealed under other keys: 5" in ended.err


def test_without_the_feature_there_are_no_keys(cli):
    ended = cli("keys", "list")
    assert ended.code == Exit.REFUSED
    assert "TENANT_CREDENTIALS_ENABLED" in ended.err


def test_a_database_that_does_not_answer_is_unreachable(cli):
    env = BEFORE | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert cli("keys", "list", env=env).code == Exit.UNREACHABLE


def test_the_embedded_database_is_found_as_serve_finds_it(cli, bare_environment):
    ended = cli("keys", "list", "--json", env=BEFORE | {"DATA_DIR": str(bare_environment / "d")})
    assert ended.code == Exit.OK, ended.err
    assert [one["key_id"] for one in json.loads(ended.out)] == [OLD.primary_id]


def test_no_command_shows_a_key_or_a_token(cli, amid):
    outputs = [
        cli("keys", *arguments, env=amid)
        for arguments in (
            ("list",),
            ("rotate", "--dry-run"),
            ("rotate", "--yes", "--json"),
            ("verify",),
            ("retire", OLD.primary_id, "--yes"),
        )
    ]
    text = "".join(one.out + one.err for one in outputs)
    assert not any(part in text for part in (ENCRYPTION_KEY.reveal(), OTHER_ENCRYPTION_KEY.reveal(), "enc:", "sk-"))


MANY = 600


@pytest.mark.parametrize("which", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_ends_a_rotation_after_its_batch_and_another_goes_on(cli, tmp_path, database_url, which):
    fill(database_url, MANY)
    env = AMID | {"DATABASE_URL": database_url}
    with running(tmp_path, "keys", "rotate", "--yes", env=env, talkative=True) as process:
        process.wait_for(r"rotating to \w+: ([1-9][0-9,]*) of")
        process.popen.send_signal(which)
        assert process.end() == Exit.ERROR_FOUND
    assert "to continue: keyledger keys rotate" in "".join(process.told)
    assert "Traceback" not in "".join(process.told)
    with open_store(database_url, BOTH) as store:
        (told,) = RotationRows(store.pool).latest()
        assert told.state is RotationState.INTERRUPTED
        assert 0 < told.counts.done < told.total
        assert under_keys(store) == {
            NEW.primary_id: told.counts.reencrypted,
            OLD.primary_id: MANY - told.counts.reencrypted,
        }
    assert cli("keys", "rotate", "--yes", "--fast", env=env).code == Exit.OK
    with open_store(database_url, BOTH) as store:
        assert under_keys(store) == {NEW.primary_id: MANY}


def test_it_starts_light():
    assert not packages_loaded_by("import keyledger.assembly.for_commands.key_operation") & {
        "fastapi",
        "pydantic",
        "litellm",
        "uvicorn",
    }


def after(seconds):
    """A clock that read zero when the work began and says `seconds` from then on."""
    told = chain([0.0], repeat(seconds))
    return lambda: next(told)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_work_of_less_than_two_seconds_shows_no_progress(monkeypatch, is_terminal):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressDisplay(after(1.9)) as display:
        display.update("counting", 0, 10)
        display.update("counting", 10, 10)
    assert terminal.getvalue() == ""


def test_progress_off_a_terminal_is_a_line_for_each_twentieth(capsys):
    with ProgressDisplay(after(2.0)) as display:
        for done in range(1001):
            display.update("counting", done, 1000, failed=done // 500)
        display.update("nothing to count", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[0].startswith("counting: 0 of 1,000")
    assert lines[20].startswith("counting: 1,000 of 1,000, 2 failed")
    assert lines[21].startswith("nothing to count: 0, 0 failed")


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressDisplay(after(2.0)) as display:
        display.update("counting", 5, 10, failed=1)
        display.update("sorting", 10, 10)
    assert "counting" in terminal.getvalue()
    assert "5/10" in terminal.getvalue()
    assert "1 failed" in terminal.getvalue()


def test_a_rotation_by_the_next_key_ends_with_that_key_alone(cli, database_url, bare_environment):
    fill(database_url, 3)
    dotenv, new = bare_environment / ".env", bare_environment / "new-key"
    settings = BEFORE | {"DATABASE_URL": f"'{database_url}'"}
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    new.write_text(OTHER_ENCRYPTION_KEY.reveal())
    added = cli("keys", "add-next", str(new))
    assert added.code == Exit.OK, added.err
    assert NEW.primary_id in added.err
    early = cli("keys", "adopt-next")
    assert early.code == Exit.REFUSED
    assert "keyledger keys retire KEY_ID" in early.err
    assert cli("keys", "rotate", "--yes").code == Exit.OK
    assert cli("keys", "retire", OLD.primary_id, "--yes").code == Exit.OK
    assert cli("keys", "adopt-next").code == Exit.OK
    (left,) = [one for one in json.loads(cli("keys", "list", "--json").out) if one["state"] != "retired"]
    assert (left["key_id"], left["state"], left["live"]) == (NEW.primary_id, "primary", 3)
    assert ENCRYPTION_KEY.reveal() not in dotenv.read_text()
