"""`serve`, end to end: the service on the embedded database, administered from the command line."""

import base64
import json
import os
import select
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from keyledger.embedded_postgres import status
from scripts.terminal.exits import Exit
from tests.scripts.process import PATIENCE_S, running

TENANT = "0a1b2c3d-0000-4000-8000-000000000001"
SUPER = "super-key-of-the-test"
CANARY = "sk-canary-4f9d1e7ab2-never-shown"
FIRST, SECOND = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))
ENV = {
    "TENANT_CREDENTIALS_ENABLED": "true",
    "ENCRYPTION_KEY": FIRST,
    "SUPER_API_KEY": SUPER,
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "debug",
}
SERVING = r"serving on (http://\S+)"


@pytest.fixture
def folder(tmp_path):
    """A folder with a catalogue of one model, which is called directly."""
    entry = {"name": "gpt", "family": "openai"}
    catalogue = {"completion_models": [entry], "embedding_models": []}
    (tmp_path / "ai_models.yml").write_text(json.dumps(catalogue))
    return tmp_path


def test_a_credential_lives_its_life_on_the_command_line(folder, cli):
    with running(folder, "serve", "--port", "0", env=ENV) as service:
        env = {"KEYLEDGER_URL": service.wait_for(SERVING), "KEYLEDGER_API_KEY": SUPER}

        def credentials(*arguments, stdin=""):
            ended = cli("credentials", *arguments, stdin=stdin, env=env)
            assert CANARY not in ended.out + ended.err
            return ended

        made = credentials("set", TENANT, "openai", "--stdin", "--json", stdin=CANARY)
        assert (made.code, json.loads(made.out)["masked_key"]) == (Exit.OK, "...hown"), made.err
        listed = json.loads(credentials("list", TENANT, "--json").out)["credentials"]
        assert [one["provider"] for one in listed] == ["openai"]
        assert "encrypted" in credentials("show", TENANT, "openai").out
        stale = credentials("set", TENANT, "openai", "--stdin", "--if-match", "7", stdin=CANARY)
        assert stale.code == Exit.CONFLICT
        assert credentials("set", TENANT, "nobody", "--stdin", stdin=CANARY).code == Exit.REFUSED
        assert credentials("set", TENANT, "openai", "--stdin", stdin="short").code == Exit.REFUSED
        wrong = cli("credentials", "list", TENANT, env=env | {"KEYLEDGER_API_KEY": "someone else's"})
        assert wrong.code == Exit.REFUSED
        assert credentials("delete", TENANT, "openai", "--yes").code == Exit.OK
        assert credentials("delete", TENANT, "openai", "--yes").code == Exit.REFUSED
        assert service.terminate() == Exit.OK
    assert CANARY not in str(service.said + service.told)
    assert SUPER not in str(service.said + service.told)
    assert status(folder / ".data") == "stopped", "the last process to leave stops the embedded database"


def test_a_start_without_the_key_of_a_live_credential_is_refused_and_names_the_way_out(folder, cli):
    with running(folder, "serve", "--port", "0", "--workers", "1", env=ENV, warm=True) as service:
        env = {"KEYLEDGER_URL": service.wait_for(SERVING), "KEYLEDGER_API_KEY": SUPER}
        assert cli("credentials", "set", TENANT, "openai", "--stdin", stdin=CANARY, env=env).code == Exit.OK
        assert service.terminate() == Exit.OK
    for workers in ("1", "2"):
        other = ENV | {"ENCRYPTION_KEY": SECOND}
        with running(folder, "serve", "--port", "0", "--workers", workers, env=other, warm=True) as lost:
            assert lost.end() == Exit.REFUSED
            assert "ALLOW_UNREADABLE_CREDENTIALS" in lost.told[-1]
    previous = {"ENCRYPTION_KEY": SECOND, "ENCRYPTION_KEY_PREVIOUS": FIRST}
    with running(folder, "serve", "--port", "0", "--workers", "1", env=ENV | previous, warm=True) as service:
        service.wait_for(SERVING)
        assert service.terminate() == Exit.OK, service.told


def test_several_processes_serve_one_port_and_use_one_database_until_they_are_told_to_end(folder):
    with running(folder, "serve", "--port", "0", "--workers", "2", env=ENV, warm=True) as service:
        url = service.wait_for(SERVING)
        assert httpx.get(f"{url}/livez", timeout=60, trust_env=False).status_code == 200
        if Path("/proc/self/fd").exists() and os.geteuid() == 0:
            users = [pid for pid in workers_of(service.popen.pid) if uses(pid, folder / ".data" / "postgres.users")]
            assert users, "no other process that leaves stops a database that a worker uses"
        assert service.terminate() == Exit.OK
    assert status(folder / ".data") == "stopped"


def test_a_busy_port_is_said_before_a_database_is_started(folder):
    with running(folder, "serve", "--port", "0", "--workers", "1", env=ENV, warm=True) as first:
        port = first.wait_for(r"serving on http://127\.0\.0\.1:(\d+)")
        with running(folder, "serve", "--port", port, env=ENV | {"DATA_DIR": "other"}, warm=True) as second:
            assert second.end() == Exit.REFUSED
        assert f"port {port}" in second.told[-1]
        assert not (folder / "other").exists()
        assert first.terminate() == Exit.OK


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs the process files of Linux")
def test_no_process_that_serves_outlives_a_killed_parent_and_the_last_stops_the_embedded_database(folder):
    with running(folder, "serve", "--port", "0", "--workers", "2", env=ENV, warm=True) as service:
        url = service.wait_for(SERVING)
        assert httpx.get(f"{url}/livez", timeout=60, trust_env=False).status_code == 200
        service.wait_for("(Application startup complete)", times=2)
        workers = [os.pidfd_open(pid) for pid in workers_of(service.popen.pid)]
        assert len(workers) == 2
        try:
            service.popen.kill()
            for worker in workers:
                assert select.select([worker], [], [], PATIENCE_S)[0], "the worker ended"
        finally:
            for worker in workers:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(worker, signal.SIGKILL)
                os.close(worker)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/livez", trust_env=False)
    assert status(folder / ".data") == "stopped"


def workers_of(parent):
    """The processes that `serve` started to serve: not the database, nor what the interpreter starts for itself."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    own = Path(f"/proc/{parent}/cmdline").read_bytes()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes() == own]


def uses(pid, file):
    return any(handle.resolve() == file.resolve() for handle in Path(f"/proc/{pid}/fd").iterdir())
