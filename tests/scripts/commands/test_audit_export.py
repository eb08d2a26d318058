"""`audit export` against real HTTP: what is asked for, where it goes, and what an interrupted one leaves."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts.commands import audit_export
from scripts.terminal import progress
from scripts.terminal.exits import Exit
from tests.scripts.process import running
from tests.support.places import REPOSITORY

ADMIN = "admin-key-of-the-auditor"
LINES = [b'{"position":1}\n', b'{"position":2}\n']


@dataclass
class Service:
    """Answers with `parts`, each with a link to the next one.

    lost: how often a part after the first breaks off. silent: after the first part, the next one does not come.
    """

    url: str = ""
    status: int = 200
    parts: list = field(default_factory=lambda: list(LINES))
    lost: int = 0
    silent: threading.Event | None = None
    arrived: list = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told.arrived.append((self.path, dict(self.headers)))
            if told.status != 200:
                self._refuse()
                return
            nth = int(parse_qs(urlsplit(self.path).query).get("nth", ["0"])[0])
            if nth and told.silent is not None:
                told.silent.wait(60)
            part, breaks = told.parts[nth], nth > 0 and told.lost > 0
            self.send_response(200)
            self.send_header("Content-Length", str(len(part) + breaks))
            self.send_header("Content-Disposition", "attachment")
            if nth + 1 < len(told.parts):
                query = f"format=jsonl&nth={nth + 1}&after={nth + 1}&part_of={len(told.parts)}"
                self.send_header("Link", f'</elsewhere/export?{query}>; rel="next"')
            self.end_headers()
            self.close_connection = breaks
            with suppress(OSError):  # a client that leaves is part of the tests
                self.wfile.write(part)
            told.lost -= breaks

        def _refuse(self) -> None:
            body = json.dumps({"title": "Forbidden", "code": "forbidden", "detail": "The role may not."}).encode()
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name for it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield told
        if told.silent is not None:
            told.silent.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def env(service):
    return {"KEYLEDGER_URL": service.url, "KEYLEDGER_API_KEY": ADMIN}


def left_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_stdout_gets_the_file_and_stderr_the_talk(cli, service, env):
    ended = cli("audit", "export", "--format", "jsonl", env=env)
    assert (ended.code, ended.out.encode()) == (Exit.OK, b"".join(LINES))
    assert ended.err == f"2 records, {len(b''.join(LINES))} bytes\n"


def test_what_is_asked_for(cli, service, env):
    words = ("action:deleted", "since:24h", '"ticket 4711"')
    assert cli("audit", "export", "--format", "csv", "--after", "7", *words, env=env).code == Exit.OK
    path, headers = service.arrived[0]
    assert urlsplit(path).path == "/api/v1/audit/export"
    asked = {"format": ["csv"], "q": [" ".join(words)], "after": ["7"], "part_of": ["0"]}
    assert parse_qs(urlsplit(path).query) == asked
    assert all(urlsplit(path).path == "/api/v1/audit/export" for path, _ in service.arrived)
    assert headers["User-Agent"] == f"keyledger-cli/{version('keyledger')}"
    assert headers["X-API-Key"] == ADMIN


def test_a_byte_order_mark_is_asked_for_and_only_for_csv(cli, service, env):
    assert cli("audit", "export", "--format", "csv", "--bom", env=env).code == Exit.OK
    assert parse_qs(urlsplit(service.arrived[0][0]).query) == {"format": ["csv"], "bom": ["true"], "part_of": ["0"]}
    assert cli("audit", "export", "--format", "ocsf", "--bom", env=env).code == Exit.USAGE


def test_a_file_is_made_for_its_owner_alone(cli, service, env, bare_environment):
    ended = cli("audit", "export", "--format", "jsonl", "--output", "trail.jsonl", env=env)
    assert (ended.code, ended.out) == (Exit.OK, "")
    assert left_in(bare_environment) == {"trail.jsonl": b"".join(LINES)}
    assert (bare_environment / "trail.jsonl").stat().st_mode & 0o077 == 0
    assert "2 records" in ended.err and "trail.jsonl" in ended.err


def test_a_csv_counts_its_records_without_the_header(cli, service, env):
    service.parts = [b"position\r\n1\r\n", b"2\r\n"]
    ended = cli("audit", "export", "--format", "csv", "-o", "trail.csv", env=env)
    assert "2 records" in ended.err


def test_progress_is_told_where_there_is_no_terminal(cli, service, env, monkeypatch):
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    service.parts = [b"", b"", *LINES]
    first, *_, last = cli("audit", "export", "--format", "jsonl", env=env).err.splitlines()
    assert first.startswith("exporting: 1 of 4, 0 records, 0 bytes, ")
    assert last == f"2 records, {len(b''.join(LINES))} bytes"


def test_an_outage_between_two_parts_is_waited_for(cli, service, env, monkeypatch):
    monkeypatch.setattr(audit_export, "PAUSE_S", 0.0)
    service.lost = 3
    ended = cli("audit", "export", "--format", "jsonl", env=env)
    assert (ended.code, ended.out.encode()) == (Exit.OK, b"".join(LINES))


@pytest.mark.parametrize("before", [None, b"the former export"])
class TestInterrupted:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch):
        monkeypatch.setattr(audit_export, "PAUSE_S", 0.0)

    def _prepare(self, folder, before):
        if before is not None:
            (folder / "trail.jsonl").write_bytes(before)
        return {"trail.jsonl": before} if before is not None else {}

    def test_one_that_breaks_off_leaves_no_file(self, cli, service, env, bare_environment, before):
        kept = self._prepare(bare_environment, before)
        service.lost = 100
        ended = cli("audit", "export", "--format", "jsonl", "-o", "trail.jsonl", env=env)
        assert ended.code == Exit.UNREACHABLE
        assert "stopped after 1 records, 15 bytes; entries after position 1 are missing" in ended.err
        assert "incomplete" in ended.err
        assert left_in(bare_environment) == kept

    def test_one_that_is_refused_touches_nothing(self, cli, service, env, bare_environment, before):
        kept = self._prepare(bare_environment, before)
        service.status = 403
        ended = cli("audit", "export", "--format", "jsonl", "-o", "trail.jsonl", env=env)
        assert ended.code == Exit.REFUSED
        assert "The role may not." in ended.err
        assert left_in(bare_environment) == kept

    def test_ctrl_c_leaves_no_file(self, service, env, tmp_path, before):
        kept = self._prepare(tmp_path, before)
        service.silent = threading.Event()
        arguments = ("audit", "export", "--format", "jsonl", "-o", "trail.jsonl")
        with running(tmp_path, *arguments, env=env) as process:
            assert _until(lambda: any(".partial-" in name for name in left_in(tmp_path)))
            process.popen.send_signal(signal.SIGINT)
            assert process.end() != Exit.OK
        assert left_in(tmp_path) == kept

    def test_on_stdout_the_exit_code_tells(self, cli, service, env, before):
        service.lost = 100
        ended = cli("audit", "export", "--format", "jsonl", env=env)
        assert (ended.code, ended.out.encode()) == (Exit.UNREACHABLE, LINES[0])


def test_a_reader_that_leaves_ends_it_with_one_line(service, env, tmp_path):
    service.parts = [b'{"position":1}\n' * 10_000] * 20
    command = [sys.executable, "-m", "scripts.main", "audit", "export", "--format", "jsonl"]
    piped = subprocess.Popen(
        command, cwd=REPOSITORY, env=env | {"PATH": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert piped.stdout is not None and piped.stderr is not None
    piped.stdout.readline()
    piped.stdout.close()
    said = piped.stderr.read().decode()
    piped.stderr.close()
    assert piped.wait() == Exit.REFUSED
    assert "cannot write to stdout" in said and "Traceback" not in said and "Exception ignored" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "xml"), "'csv', 'jsonl', 'ocsf', 'cloudevents'"),
        ((), "--format"),
        (("--format", "csv", "-o", "."), "is a folder"),
        (("--format", "csv", "-o", "nowhere/trail.csv"), "cannot write"),
    ],
)
def test_wrong_usage_is_named(cli, service, env, arguments, said):
    ended = cli("audit", "export", *arguments, env=env)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert said in ended.err


def _until(holds) -> bool:
    """Wait for what another process does; bounded, and without a guess how long it takes."""
    waiting = threading.Event()
    return any(holds() or waiting.wait(0.02) for _ in range(3000))
