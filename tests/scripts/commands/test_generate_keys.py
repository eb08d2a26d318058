"""Keys made on the command line: printed once, usable as they are."""

import json
import re

import pytest

from api.front.auth import Actor, Authenticator, parse_named_key
from domain.access.roles import Role
from keyledger.settings.settings import load
from scripts.terminal.exits import Exit


def test_an_encryption_key_is_44_characters_on_stdout_and_nothing_else(cli):
    ended = cli("generate-encryption-key")
    assert ended.code == Exit.OK
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}=\n", ended.out)
    assert ended.err == ""


def test_an_encryption_key_is_fit_to_start_with_and_new_each_time(cli):
    first, second = (cli("generate-encryption-key").out.strip() for _ in range(2))
    assert first != second
    load({"TENANT_CREDENTIALS_ENABLED": "1", "ENCRYPTION_KEY": first, "ENCRYPTION_KEY_PREVIOUS": second}, None)


def test_an_api_key_is_let_in_by_the_line_that_is_printed_with_it(cli):
    ended = cli("api-keys", "create", "--name", "anna", "--role", "auditor")
    secret, line = ended.out.splitlines()
    assert ended.code == Exit.OK
    assert secret not in line
    assert secret not in ended.err
    assert Authenticator(None, [parse_named_key(line)]).authenticate(secret.encode()) == Actor("anna", Role.AUDITOR)


def test_an_api_key_in_json_is_one_document(cli):
    ended = cli("api-keys", "create", "--name", "anna", "--role", "runtime", "--json")
    made = json.loads(ended.out)
    assert set(made) == {"name", "role", "api_key", "api_keys_entry"}
    assert parse_named_key(made["api_keys_entry"]).role is Role.RUNTIME
    assert load({"API_KEYS": made["api_keys_entry"]}, None).named_keys[0].name == "anna"


@pytest.mark.parametrize(
    ("name", "role", "said"),
    [
        pytest.param("anna", "king", "--role must be one of", id="a role that is not one"),
        pytest.param("an na", "auditor", "--name: the name must be", id="a name with a space"),
        pytest.param("super", "auditor", "--name: the name 'super' is reserved", id="the name of the super key"),
    ],
)
def test_a_wrong_name_or_role_is_wrong_usage(cli, name, role, said):
    ended = cli("api-keys", "create", "--name", name, "--role", role)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert said in ended.err
