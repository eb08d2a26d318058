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
from scripts.terminal.exits import Exit
from tests.scripts.process import running
from tests.support.places import REPOSITORY

ADMIN = "admin-key-of-the-auditor"
LINES = [b'{"position":1}\n', b'{"position":2}\n']


@dataclass
class Service:
    """Answers with `pieces` as chunks; goes silent or breaks the connection after them when asked to."""

    url: str = ""
    status: int = 200
    pieces: list = field(default_factory=lambda: list(LINES))
    whole: bool = True
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
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Content-Disposition", "attachment")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):  # a client that leaves is part of the tests
                for piece in told.pieces:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if told.silent is not None:
                    told.silent.wait(60)
                if told.whole:
                    self.wfile.write(b"0\r\n\r\n")

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
    assert parse_qs(urlsplit(path).query) == {"format": ["csv"], "q": [" ".join(words)], "after": ["7"]}
    assert headers["User-Agent"] == f"keyledger-cli/{version('keyledger')}"
    assert headers["X-API-Key"] == ADMIN


def test_a_byte_order_mark_is_asked_for_and_only_for_csv(cli, service, env):
    assert cli("audit", "export", "--format", "csv", "--bom", env=env).code == Exit.OK
    assert parse_qs(urlsplit(service.arrived[0][0]).query) == {"format": ["csv"], "bom": ["true"]}
    assert cli("audit", "export", "--format", "ocsf", "--bom", env=env).code == Exit.USAGE


def test_a_file_is_made_for_its_owner_alone(cli, service, env, bare_environment):
    ended = cli("audit", "export", "--format", "jsonl", "--output", "trail.jsonl", env=env)
    assert (ended.code, ended.out) == (Exit.OK, "")
    assert left_in(bare_environment) == {"trail.jsonl": b"".join(LINES)}
    assert (bare_environment / "trail.jsonl").stat().st_mode & 0o077 == 0
    assert "2 records" in ended.err and "trail.jsonl" in ended.err


def test_a_csv_counts_its_records_without_the_header(cli, service, env):
    service.pieces = [b"position\r\n1\r", b"\n2\r\n"]
    ended = cli("audit", "export", "--format", "csv", "-o", "trail.csv", env=env)
    assert "2 records" in ended.err


def test_progress_is_told_where_there_is_no_terminal(cli, service, env, monkeypatch):
    monkeypatch.setattr(audit_export, "EVERY_S", 0.0)
    ended = cli("audit", "export", "--format", "jsonl", env=env)
    assert ended.err.splitlines()[-1] == f"2 records, {len(b''.join(LINES))} bytes"
    assert len(ended.err.splitlines()) >= 2


@pytest.mark.parametrize("before", [None, b"the former export"])
class TestInterrupted:
    def _prepare(self, folder, before):
        if before is not None:
            (folder / "trail.jsonl").write_bytes(before)
        return {"trail.jsonl": before} if before is not None else {}

    def test_one_that_breaks_off_leaves_no_file(self, cli, service, env, bare_environment, before):
        kept = self._prepare(bare_environment, before)
        service.whole = False
        ended = cli("audit", "export", "--format", "jsonl", "-o", "trail.jsonl", env=env)
        assert ended.code == Exit.UNREACHABLE
        assert "stopped after 2 records" in ended.err and "incomplete" in ended.err
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
        service.whole = False
        ended = cli("audit", "export", "--format", "jsonl", env=env)
        assert (ended.code, ended.out.encode()) == (Exit.UNREACHABLE, b"".join(LINES))


def test_a_reader_that_leaves_ends_it_with_one_line(service, env, tmp_path):
    service.pieces = [b'{"position":1}\n' * 10_000] * 20
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
