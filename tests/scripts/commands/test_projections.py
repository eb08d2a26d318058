"""`projections list` and `replay` on a real database, in an environment without any key."""

import json
import os
import re
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from scripts.terminal.exits import Exit
from scripts.terminal.progress import ProgressDisplay
from tests.scripts.conftest import Cli
from tests.scripts.process import running
from tests.support.checker import check
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import ENCRYPTION_KEY, open_store, replay_elsewhere

KEY = "sk-CANARY-0123456789xyz9"
DAMAGE = "UPDATE current_credentials SET endpoint = 'https://evil.example.com' WHERE provider = 'openai'"


@pytest.fixture
def filled(database_url: str) -> str:
    with open_store(database_url) as store:
        for tenant in (TENANT, OTHER_TENANT):
            store.set(tenant, "openai", KEY)
            store.set(tenant, "mistral", KEY)
        store.delete(TENANT, "mistral")
        store.audit()
    return database_url


def damage(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(DAMAGE)


def endpoints(url: str) -> set[str | None]:
    with psycopg.connect(url) as database:
        return {row[0] for row in database.execute("SELECT endpoint FROM current_credentials")}


def test_a_replay_runs_without_any_key_also_where_a_start_would_be_refused(cli: Cli, filled: str) -> None:
    env = {"DATABASE_URL": filled, "TENANT_CREDENTIALS_ENABLED": "true"}
    assert "ENCRYPTION_KEY" not in os.environ
    assert cli("config", "check", env=env).code == Exit.ERROR_FOUND, "a service would not start with this"
    ended = cli("replay", env=env)
    assert ended.code == Exit.OK, ended.err
    assert "current_credentials" in ended.out
    assert "audit_trail" in ended.out
    with open_store(filled) as store:
        check(store)


def test_the_result_in_json_is_one_document(cli: Cli, filled: str) -> None:
    ended = cli("replay", "--projection", "audit_trail", "--json", env={"DATABASE_URL": filled})
    (found,) = json.loads(ended.out)["replays"]
    assert found.pop("seconds") >= 0
    assert found == {
        "projection": "audit_trail",
        "position": 5,
        "events": 5,
        "rows": 5,
        "difference_count": 0,
        "differences": [],
        "swapped": True,
    }


@pytest.mark.parametrize("arguments", [(), ("--compare",)])
def test_a_view_that_differs_is_left_and_the_command_says_so(cli: Cli, filled: str, arguments: tuple[str, ...]) -> None:
    damage(filled)
    ended = cli("replay", *arguments, env={"DATABASE_URL": filled})
    assert ended.code == Exit.ERROR_FOUND
    assert "current_credentials differs from the log in 2 rows" in ended.err
    assert [re.search(f"changed +{tenant} +openai", ended.out) is None for tenant in (TENANT, OTHER_TENANT)] == [
        False
    ] * 2
    assert endpoints(filled) == {None, "https://evil.example.com"}
    for secret in (KEY, ENCRYPTION_KEY.reveal(), "enc:fernet", "evil.example.com"):
        assert secret not in ended.out + ended.err


def test_yes_puts_the_copy_in_place_of_a_view_that_differs(cli: Cli, filled: str) -> None:
    damage(filled)
    ended = cli("replay", "--yes", "--json", env={"DATABASE_URL": filled})
    assert ended.code == Exit.OK, ended.err
    assert [one["swapped"] for one in json.loads(ended.out)["replays"]] == [True] * 5
    assert endpoints(filled) == {None}


def test_until_shows_the_past_and_changes_nothing(cli: Cli, filled: str) -> None:
    env = {"DATABASE_URL": filled}
    shown = json.loads(cli("replay", "--until", "2", "--json", env=env).out)["replays"]
    assert [(one["position"], one["rows"], one["swapped"]) for one in shown] == [
        (2, 2, False),
        (2, 0, False),
        (2, 0, False),
        (2, 2, False),
        (2, 1, False),
    ]
    assert [one["difference_count"] for one in shown] == [3, 0, 0, 3, 1]
    early = cli("replay", "--until", "2020-01-01T00:00:00Z", "--json", env=env)
    assert early.code == Exit.OK
    assert [one["rows"] for one in json.loads(early.out)["replays"]] == [0] * 5
    now = datetime.now(UTC).isoformat()
    late = cli("replay", "--until", now, "--json", env=env)
    assert [one["difference_count"] for one in json.loads(late.out)["replays"]] == [0] * 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--yes", "--compare"), "never do", id="to swap and not to"),
        pytest.param(("--yes", "--until", "3"), "never do", id="to swap the past in"),
        pytest.param(("--until", "yesterday"), "--until must be", id="a time that is not one"),
        pytest.param(("--until", "2026-02-30T00:00:00Z"), "--until must be", id="a day that is not one"),
        pytest.param(("--until", "2026-01-01T00:00:00"), "--until must be", id="a time without a zone"),
        pytest.param(("--until", "2999-01-01T00:00:00+02:00"), "not be in the future", id="a time to come"),
        pytest.param(("--until", "-3"), "--until must be", id="a position that is not one"),
    ],
)
def test_what_means_nothing_is_wrong_usage(cli: Cli, filled: str, arguments: tuple[str, ...], said: str) -> None:
    ended = cli("replay", *arguments, env={"DATABASE_URL": filled})
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert said in ended.err


def test_an_unknown_view_is_refused_with_the_known_ones(cli: Cli, filled: str) -> None:
    ended = cli("replay", "--projection", "nothing", env={"DATABASE_URL": filled})
    assert ended.code == Exit.REFUSED
    assert "current_credentials, access_keys, tenants, audit_trail, transparency_log" in ended.err


def test_a_second_replay_of_a_view_is_a_conflict(cli: Cli, filled: str) -> None:
    with replay_elsewhere(filled, "current_credentials"):
        assert cli("replay", env={"DATABASE_URL": filled}).code == Exit.CONFLICT


def test_the_list_shows_where_each_view_stands_and_what_stops_it(cli: Cli, filled: str) -> None:
    env = {"DATABASE_URL": filled}
    with psycopg.connect(filled, autocommit=True) as database:
        database.execute("INSERT INTO keyledger_events VALUES (gen_random_uuid(), 1, 'CredentialRenamed', '{}', 6)")
    current, _, _, trail, tree = json.loads(cli("projections", "list", "--json", env=env).out)
    assert (tree["name"], tree["head"]) == ("transparency_log", 6)
    assert (current["name"], current["position"], current["rows"], current["state"]) == (
        "current_credentials",
        6,
        4,
        "live",
    )
    assert (trail["position"], trail["head"], trail["lag"], trail["state"]) == (5, 6, 1, "stopped")
    assert trail["reason"] == "event-topic-unknown at position 6, topic CredentialRenamed"
    assert trail["reason"] in cli("projections", "list", env=env).out
    ended = cli("replay", env=env)
    assert ended.code == Exit.REFUSED
    assert trail["reason"] in ended.err


def test_a_database_that_is_not_there_or_not_ours_is_refused(
    cli: Cli, empty_database_url: str, bare_environment: Path
) -> None:
    assert cli("replay", env={"DATABASE_URL": empty_database_url}).code == Exit.REFUSED
    absent = cli("replay", env={"DATA_DIR": str(bare_environment / "nothing")})
    assert absent.code == Exit.REFUSED
    assert "there is no database" in absent.err
    assert not (bare_environment / "nothing" / "postgres").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_replay_that_is_killed_leaves_the_view_and_the_next_cleans_up(
    cli: Cli, filled: str, bare_environment: Path, how: signal.Signals
) -> None:
    env = {"DATABASE_URL": filled}
    damage(filled)
    with psycopg.connect(filled) as writer:
        # A lock on the projection keeps the replay at its last step: the copy is complete and not yet in place.
        writer.execute("LOCK TABLE current_credentials IN ROW EXCLUSIVE MODE")
        with running(bare_environment, "replay", "--yes", env=env, talkative=True) as replaying:
            replaying.wait_for("(replaying current_credentials: 5 of 5)")
            replaying.popen.send_signal(how)
            assert replaying.end() in {-how, Exit.REFUSED}
    assert "https://evil.example.com" in endpoints(filled)
    with psycopg.connect(filled, autocommit=True) as database:
        # A server notices a client that was killed a moment later.
        database.execute("SELECT FROM keyledger_locks WHERE name = 'current_credentials_shadow' FOR UPDATE")
    assert cli("replay", "--yes", env=env).code == Exit.OK
    assert endpoints(filled) == {None}
    with psycopg.connect(filled) as database:
        assert database.execute("SELECT to_regclass('current_credentials_shadow')").fetchone() == (None,)


def test_an_interrupted_command_says_that_nothing_happened(
    cli: Cli, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(ProgressDisplay, "update", interrupt)
    ended = cli("replay", env={"DATABASE_URL": filled})
    assert ended.code == Exit.REFUSED
    assert "are unchanged" in ended.err
