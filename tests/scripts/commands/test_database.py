"""The embedded database from the command line, with a real server."""

import json

import psycopg

from scripts.terminal.exits import Exit


def test_no_server_is_unreachable_and_stopping_it_is_fine(cli):
    ended = cli("database", "url")
    assert (ended.code, ended.out) == (Exit.UNREACHABLE, "")
    assert "keyledger database start" in ended.err
    assert cli("database", "stop").code == Exit.OK


def test_a_started_server_answers_at_its_url_until_it_is_stopped(cli, bare_environment):
    env = {"DATA_DIR": str(bare_environment / "d")}
    started = cli("database", "start", env=env)
    try:
        assert started.code == Exit.OK, started.err
        assert cli("database", "url", env=env).out == started.out
        assert json.loads(cli("database", "url", "--json", env=env).out) == {"url": started.out.strip()}
        with psycopg.connect(started.out.strip()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        stopped = cli("database", "stop", "--json", env=env)
    assert json.loads(stopped.out) == {"stopped": True}
    assert cli("database", "url", env=env).code == Exit.UNREACHABLE


def test_a_person_who_set_database_url_is_told_that_it_is_not_this_server(cli):
    assert "DATABASE_URL is set" in cli("database", "stop", env={"DATABASE_URL": "postgresql://db/x"}).err
