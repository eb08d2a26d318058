"""`keyledger doctor`: a table for people, one document for programs, and an exit code for scripts."""

import json
import os
import re
import subprocess
import sys

import pytest

from keyledger.doctor import CHECKS
from scripts.terminal.exits import Exit
from tests.scripts.commands.test_config_check import CANARY, CATALOGUE


@pytest.fixture
def env(bare_environment):
    (bare_environment / "ai_models.yml").write_text(CATALOGUE)
    return {"SUPER_API_KEY": CANARY, "OPENAI_API_KEY": CANARY, "DATA_DIR": str(bare_environment / "data")}


def test_findings_are_a_table_with_the_next_command(cli, env):
    env["DATABASE_URL"] = f"postgresql://keyledger:{CANARY}@127.0.0.1:9/keyledger"
    ended = cli("doctor", env=env)
    assert re.search(
        r"^ *database +fault +nothing listens at the address in DATABASE_URL.* +keyledger config check *$",
        ended.out,
        re.MULTILINE,
    )
    assert all(subject in ended.out for subject, _ in CHECKS)
    assert CANARY not in ended.out + ended.err


def test_a_command_to_copy_is_not_broken_in_a_terminal(cli, env, monkeypatch):
    monkeypatch.setattr("scripts.terminal.output._width", lambda: 80)
    env["OPENAI_API_KEYS"] = CANARY
    lines = cli("doctor", env=env).out.splitlines()
    assert any(line.strip() == "next: keyledger config check" for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_json_is_one_document_with_every_finding(cli, env):
    ended = cli("doctor", "--json", env=env)
    report = json.loads(ended.out)
    assert (ended.code, set(report), report["ok"]) == (Exit.OK, {"ok", "findings"}, True)
    assert {"subject": "settings", "state": "ok", "said": "the service can start with them", "next": None} in report[
        "findings"
    ]
    assert {one["state"] for one in report["findings"]} <= {"ok", "warning", "not looked at"}


def test_a_fault_ends_it_with_1_in_both_forms(cli, env, bare_environment):
    (bare_environment / "ai_models.yml").write_text("completion_models: 7\n")
    table, document = cli("doctor", env=env), cli("doctor", "--json", env=env)
    for ended in (table, document):
        assert (ended.code, "1 fault" in ended.err) == (Exit.ERROR_FOUND, True)
    assert json.loads(document.out)["ok"] is False


def test_what_cannot_be_looked_at_is_no_fault(cli, env):
    ended = cli("doctor", env=env)
    assert ended.code == Exit.OK
    assert "the embedded server is not running" in ended.out


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_a_port_that_cannot_be_is_wrong_usage(cli, env, port):
    assert cli("doctor", "--port", port, env=env).code == Exit.USAGE


def test_a_database_that_is_away_is_told_in_words_alone(bare_environment):
    arguments = [sys.executable, "-m", "scripts.main", "doctor"]
    env = {**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:9/keyledger"}
    ended = subprocess.run(arguments, cwd=bare_environment, env=env, capture_output=True, text=True, check=False)
    assert re.fullmatch(r"keyledger: [0-9]+ ok, .*\n", ended.stderr)
