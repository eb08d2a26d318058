"""The `access` commands against a real service: tokens are printed once, and read from stdin only."""

import json
from collections.abc import Iterator

import pytest

from domain.access.token import is_token, new_token
from scripts.terminal.exits import Exit
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, environment, served

TENANT = "0a1b2c3d-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def url(postgres_server: TemplatedServer) -> Iterator[str]:
    with (
        postgres_server.fresh_database() as database_url,
        served(database_url, environment(AI_MODELS_FILE=DIRECT_MODELS)) as found,
    ):
        yield found


@pytest.fixture
def access(cli, url):
    def run(*arguments: str, stdin: str = ""):
        env = {"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": ADMIN_KEY}
        return cli("access", *arguments, stdin=stdin, env=env)

    return run


def test_a_key_is_made_shown_rotated_and_revoked(access) -> None:
    made = access("create", "app", "--role", "runtime", "--tenant", TENANT, "--expires-in", "90d", "--reason", "t 1")
    assert made.code == Exit.OK, made.err
    assert is_token(made.out.strip().encode())
    assert "shown only once" in made.err
    shown = json.loads(access("show", "app", "--json").out)
    assert (shown["tenants"], shown["state"], shown["version"]) == ([TENANT], "active", 1)
    turned = access("rotate", "app", "--old-token-for", "12h", "--json")
    assert json.loads(turned.out)["previous_token_until"] is not None
    listed = access("list")
    assert "app" in listed.out and "in the settings" in listed.out
    revoked = access("revoke", "app")
    assert "app is revoked" in revoked.err
    assert "no access key" in access("show", "app").err


@pytest.mark.parametrize("reason", ["two\nlines", " "])
def test_a_reason_is_a_line_of_text(access, reason: str) -> None:
    ended = access("create", "odd", "--role", "runtime", "--reason", reason)
    assert ended.code == Exit.USAGE
    assert "--reason must be one line of printable text" in ended.err


def test_a_token_that_was_found_is_read_from_stdin_and_never_printed(access) -> None:
    token = access("create", "leaked", "--role", "auditor").out.strip()
    ended = access("revoke", "--token-stdin", stdin=f"{token}\n")
    assert ended.code == Exit.OK, ended.err
    assert "leaked is revoked" in ended.err
    assert token not in ended.out + ended.err


def test_a_token_is_found_in_the_line_that_leaked(access) -> None:
    token = access("create", "in-a-line", "--role", "auditor").out.strip()
    line = f"\udcff export KEYLEDGER_API_KEY='{token}'  # {token}\r\n"
    ended = access("revoke", "--token-stdin", stdin=line)
    assert (ended.code, "in-a-line is revoked" in ended.err) == (Exit.OK, True), ended.err


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param("", "there is no token of an access key on stdin", id="nothing"),
        pytest.param("\udcff\udcfe\0", "there is no token of an access key on stdin", id="no text"),
        pytest.param("klk_" + "a" * 49, "there is no token of an access key on stdin", id="a wrong check"),
        pytest.param(f"{new_token().reveal()} {new_token().reveal()}", "there are 2 tokens on stdin", id="two"),
    ],
)
def test_what_is_not_one_token_is_named_and_not_sent(access, found: str, said: str) -> None:
    ended = access("revoke", "--token-stdin", stdin=found)
    assert (ended.code, said in ended.err) == (Exit.USAGE, True), ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("revoke",), "either NAME or --token-stdin"),
        (("revoke", "app", "--token-stdin"), "either NAME or --token-stdin"),
        (("create", "app", "--role", "runtime", "--expires-in", "soon"), "such as 30m, 12h or 90d"),
    ],
)
def test_a_mistake_in_the_arguments_is_named(access, arguments: tuple[str, ...], said: str) -> None:
    ended = access(*arguments)
    assert ended.code == Exit.USAGE
    assert said in ended.err


def test_a_mistake_in_a_scope_is_named_by_the_service(access) -> None:
    ended = access("create", "other", "--role", "runtime", "--provider", "acme")
    assert ended.code != Exit.OK
    assert "providers" in ended.err


def test_keys_that_no_one_uses_are_listed(access) -> None:
    access("create", "idle", "--role", "auditor")
    listed = access("list", "--unused", "90d", "--json")
    assert (listed.code, json.loads(listed.out)["access_keys"]) == (Exit.OK, [])
    assert access("list", "--unused", "90d").err == "every active access key was used or changed since\n"
    assert "such as 30m, 12h or 90d" in access("list", "--unused", "long").err
    assert "last_used_at" in access("list", "--wide").out
