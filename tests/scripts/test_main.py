"""The command as a whole: what a start loads, and how every fault ends."""

from uuid import uuid4

import psycopg
import pytest

from domain.credentials.command_batch import command_reused
from domain.errors import CredentialNotFoundError, NoCredentialError, StoreUnavailableError, VersionConflictError
from keyledger.settings.errors import SettingsError
from keyledger.start_error import StartError
from scripts.terminal.endings import ending_of
from scripts.terminal.exits import CommandError, Exit
from tests.support.loaded import packages_loaded_by

KEY = "sk-proj-" + "Ab1" * 20
HEAVY = {"litellm", "fastapi", "pydantic", "uvicorn", "psycopg", "httpx", "cryptography", "yaml", "rich"}


def test_a_start_loads_nothing_that_only_a_command_needs():
    assert not packages_loaded_by("import scripts.main") & HEAVY


def test_help_lists_the_commands(cli):
    ended = cli("--help")
    assert ended.code == Exit.OK
    for command in ("serve", "run", "generate-encryption-key", "api-keys", "credentials", "database", "config"):
        assert command in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("serve", "--port", "x"),
        ("serve", "--workers", "0"),
        ("serve", "--workers", "65"),
        ("credentials", "set"),
    ],
)
def test_wrong_usage_ends_with_2_and_only_talk(cli, arguments):
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((KEY,), id="for a command"),
        pytest.param(("credentials", KEY), id="for a command of a group"),
        pytest.param(("config", "check", KEY), id="one too many"),
        pytest.param(("credentials", "set", "t", "openai", f"--{KEY}"), id="for an option"),
        pytest.param(("serve", "--port", KEY), id="for a number"),
        pytest.param((f"--{KEY}",), id="for an option of all"),
    ],
)
def test_wrong_usage_repeats_no_key(cli, arguments):
    ended = cli(*arguments)
    assert ended.code == Exit.USAGE
    assert KEY not in ended.err
    assert "Error" in ended.err


def test_the_version_is_data(cli):
    ended = cli("--version")
    assert ended.code == Exit.OK
    assert ended.out.strip().count(".") == 2


TENANT = str(uuid4())
ENDINGS = [
    pytest.param(CommandError(Exit.USAGE, "so"), 2, ["so"], id="a command that knows how it ends"),
    pytest.param(StoreUnavailableError(), 3, None, id="a database that does not answer"),
    pytest.param(
        psycopg.OperationalError("canary"), 3, ["the database is not answering"], id="a driver without a connection"
    ),
    pytest.param(SettingsError(("line 1: x",), "m.yml"), 4, ["m.yml: line 1: x"], id="a faulty catalogue"),
    pytest.param(StartError("no key"), 4, ["no key"], id="a start that is refused"),
    pytest.param(StoreUnavailableError("no build"), 3, ["no build"], id="an embedded server that does not start"),
    pytest.param(VersionConflictError(3, precondition=True), 5, None, id="a conflict"),
    pytest.param(command_reused(), 5, None, id="a command id used twice"),
    pytest.param(CredentialNotFoundError(TENANT, "openai"), 4, None, id="a refusal"),
    pytest.param(NoCredentialError(TENANT, "openai", "none"), 4, None, id="no key"),
    pytest.param(SettingsError(("A: x", "B: y")), 4, ["A: x", "B: y"], id="settings not fit to start with"),
]


@pytest.mark.parametrize(("error", "code", "lines"), ENDINGS)
def test_every_fault_has_its_exit_code(error, code, lines):
    found, said = ending_of(error)
    assert found == code
    assert said
    assert lines is None or list(said) == lines


def test_an_unexpected_fault_is_a_line_with_its_place_and_without_its_text():
    try:
        raise RuntimeError("canary-of-a-driver")
    except RuntimeError as error:
        code, lines = ending_of(error)
    assert code == Exit.ERROR_FOUND
    assert "RuntimeError at " in lines[0]
    assert "canary" not in str(lines)
