"""The embedded server is started, shared, found again after any crash, and stopped; nothing else is touched."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from domain.errors import StoreUnavailableError
from keyledger import embedded_postgres
from keyledger.embedded_postgres import postmaster
from tests.support.embedded_server import number_of_the_server, query
from tests.support.places import REPOSITORY

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def stranger(data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A live process of the account that runs the server: for PostgreSQL, indistinguishable from one of its own."""
    owner = data_dir.parent.stat().st_uid if not IS_ROOT else 65534
    with subprocess.Popen(["/bin/sleep", "60"], user=owner if IS_ROOT else None, cwd="/") as process:
        yield process
        process.kill()


def another_process(data_dir: Path, then: str) -> "subprocess.Popen[str]":
    """Attach or start in a process of its own, report who started, then do as told."""
    code = (
        "import sys, pathlib; from keyledger import embedded_postgres as e;"
        f"s = e.start(pathlib.Path({str(data_dir)!r}), durable=False);"
        f"print(s.started_here, flush=True); {then}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def write_one_row(server: embedded_postgres.EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def test_the_first_start_makes_a_private_cluster_with_checksums_in_utf8_that_no_network_reaches(
    made_here, start, data_dir
):
    server = start()
    assert server.started_here
    assert query(server, "SHOW data_checksums") == "on"
    assert query(server, "SHOW server_encoding") == "UTF8"
    assert query(server, "SHOW listen_addresses") == ""
    assert query(server, "SELECT datlocprovider::text FROM pg_database WHERE datname = 'postgres'") == "b"
    assert (data_dir / "postgres").stat().st_mode & 0o777 == 0o700
    assert data_dir.stat().st_mode & 0o777 == 0o700


def test_what_was_written_is_there_after_a_restart(start, data_dir):
    server = start()
    write_one_row(server)
    server.leave()
    assert embedded_postgres.status(data_dir) == "stopped"
    assert query(start(), "SELECT answer FROM kept") == 42


def test_the_state_is_absent_then_running_then_stopped(start, data_dir):
    assert embedded_postgres.status(data_dir) == "absent"
    assert embedded_postgres.attach(data_dir) is None
    assert not data_dir.exists(), "asking creates nothing"
    server = start()
    assert embedded_postgres.status(data_dir) == "running"
    server.leave()
    server.leave()
    assert embedded_postgres.status(data_dir) == "stopped"
    assert embedded_postgres.stop(data_dir) is False


def test_a_second_process_attaches_and_the_last_one_to_leave_stops_the_server(start, data_dir):
    server = start()
    with another_process(data_dir, "sys.stdin.read(); s.leave()") as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "False\n"
        server.leave()
        assert embedded_postgres.status(data_dir) == "running"
        other.stdin.close()
        assert other.wait(timeout=30) == 0
    assert embedded_postgres.status(data_dir) == "stopped"


def test_a_kept_server_outlives_its_users_until_it_is_stopped(start, data_dir):
    server = start()
    server.keep()
    server.leave()
    attached = embedded_postgres.attach(data_dir)
    assert attached is not None
    attached.leave()
    assert embedded_postgres.status(data_dir) == "running"
    assert embedded_postgres.stop(data_dir) is True
    start().leave()
    assert embedded_postgres.status(data_dir) == "stopped", "keeping ends with the server that was kept"


def test_after_the_server_was_killed_the_next_start_recovers_what_was_committed(start, data_dir):
    # Killed and not yet reaped: at the next start its number belongs to a zombie.
    server = start()
    write_one_row(server)
    os.kill(number_of_the_server(data_dir), signal.SIGKILL)
    server.leave()
    recovered = start()
    assert recovered.started_here
    assert query(recovered, "SELECT answer FROM kept") == 42


def test_after_the_program_that_started_it_was_killed_the_next_one_attaches_and_in_the_end_stops_it(start, data_dir):
    with another_process(data_dir, "sys.stdin.read()") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "True\n"
        killed.kill()
    server = start()
    assert not server.started_here
    server.leave()
    assert embedded_postgres.status(data_dir) == "stopped"


def test_four_processes_that_start_at_once_get_one_server(data_dir):
    processes = [another_process(data_dir, "sys.stdin.read(); s.leave()") for _ in range(4)]
    started = []
    for process in processes:
        assert process.stdout is not None
        started.append(process.stdout.readline())
    for process in processes:
        with process:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(timeout=30) == 0
    assert sorted(started) == ["False\n", "False\n", "False\n", "True\n"]
    assert embedded_postgres.status(data_dir) == "stopped"


@pytest.mark.parametrize("lock_file", ["postmaster.pid", ".s.PGSQL.5432.lock"])
def test_a_lock_file_that_names_a_live_stranger_stops_no_start_and_hurts_no_stranger(
    start, data_dir, stranger, lock_file
):
    server = start()
    server.leave()
    (data_dir / "postgres" / lock_file).write_text(
        f"{stranger.pid}\n/elsewhere\n1700000000\n5432\n.\n\n   1  1\nready\n"
    )
    (data_dir / "postgres" / lock_file).chmod(0o600)
    if IS_ROOT:
        os.chown(data_dir / "postgres" / lock_file, 65534, -1)
    assert embedded_postgres.status(data_dir) == "stopped"
    assert embedded_postgres.stop(data_dir) is False
    again = start()
    assert again.started_here
    again.stop()
    assert stranger.poll() is None


def test_a_lock_file_that_was_cut_off_stops_no_start(start, data_dir):
    start().leave()
    (data_dir / "postgres" / "postmaster.pid").touch(0o600)
    assert start().started_here


def test_what_a_crash_left_of_a_first_start_is_made_anew(made_here, start, data_dir):
    draft = data_dir / "postgres.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    assert query(start(), "SELECT 1") == 1
    assert not draft.exists()


def test_a_cluster_of_another_major_version_is_refused_and_left_alone(start, data_dir):
    start().leave()
    version = data_dir / "postgres" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(StoreUnavailableError, match=r"made by PostgreSQL 17.*dump it"):
        start()
    assert version.read_text() == "17\n"


def test_a_server_that_cannot_start_says_why(start, data_dir):
    start().leave()
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(StoreUnavailableError, match=r"the cluster is damaged: restore a backup"):
        start()


def test_a_long_path_is_reached_by_a_short_link_that_is_made_anew_when_it_vanishes(tmp_path, monkeypatch):
    data_dir = tmp_path / ("long" * 30) / "data"
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    with embedded_postgres.start(data_dir, durable=False) as server:
        assert len(str(server.socket_folder)) < 60
        assert query(server, "SELECT 1") == 1
        server.socket_folder.unlink()
        server.socket_folder.parent.rmdir()
        attached = embedded_postgres.attach(data_dir)
        assert attached is not None
        assert query(attached, "SELECT 1") == 1
        attached.leave()
    assert embedded_postgres.status(data_dir) == "stopped"
    assert not attached.socket_folder.parent.exists()


def test_settings_of_postgresql_in_the_environment_lead_nowhere_else(start, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "/nowhere")
    monkeypatch.setenv("PGUSER", "stranger")
    assert query(start(), "SELECT current_user") == "keyledger"


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_the_server_inherits_no_secret_from_our_environment(start, data_dir, monkeypatch):
    monkeypatch.setenv("ENCRYPTION_KEY", "never-in-another-process")
    start()
    try:
        environment = Path(f"/proc/{number_of_the_server(data_dir)}/environ").read_bytes()
    except PermissionError:
        pytest.skip("this container may not look into another account's process")
    assert b"never-in-another-process" not in environment


def test_bind_values_statements_and_rows_never_reach_the_log(start, data_dir):
    server = start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a text PRIMARY KEY CHECK (a <> 'sk-row-value'))")
        for statement, values in (
            ("INSERT INTO t VALUES (%s)", ["sk-row-value"]),
            ("SELECT %s::int", ["sk-bind-value"]),
            ("SELECT 'sk-literal' FROM nowhere", []),
        ):
            with suppress(psycopg.Error):
                connection.execute(statement, values)
    log = (data_dir / "postgres.log").read_text()
    assert "ERROR" in log
    assert "sk-row" not in log
    assert "sk-literal" not in log


@pytest.mark.skipif(not IS_ROOT, reason="about starting as root")
def test_root_hands_the_server_to_an_unprivileged_account_and_opens_no_directory_for_it(start, data_dir):
    closed = data_dir.parent
    closed.chmod(0o700)
    start()
    assert (data_dir / "postgres").stat().st_uid == 65534
    if platform.system() == "Linux":
        assert Path(f"/proc/{number_of_the_server(data_dir)}").stat().st_uid == 65534
    assert closed.stat().st_mode & 0o777 == 0o700
    assert (closed.stat().st_uid, data_dir.stat().st_uid) == (0, 0)


@pytest.mark.skipif(not IS_ROOT, reason="about starting as root")
def test_a_cluster_that_belongs_to_root_is_refused_with_the_way_out(start, data_dir):
    start().leave()
    os.chown(data_dir / "postgres", 0, 0)
    with pytest.raises(StoreUnavailableError, match="chown -R nobody"):
        start()


@pytest.mark.skipif(IS_ROOT, reason="root may enter everything")
def test_a_directory_of_somebody_else_is_refused_with_the_way_out(start, data_dir):
    data_dir.mkdir(mode=0o500)
    with pytest.raises(StoreUnavailableError, match="set DATA_DIR"):
        start()


def test_a_missing_wheel_names_the_way_out(start, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StoreUnavailableError, match=r"musl.*DATABASE_URL"):
        start()


def runs(number: int) -> bool:
    """Whether a process runs. One that ended and that its parent has not asked for yet still has its number."""
    try:
        os.kill(number, 0)
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # where there is none, the number is all there is to know


def test_stopping_waits_for_the_end(start, data_dir):
    server = start()
    number = number_of_the_server(data_dir)
    server.stop()
    assert postmaster.find((data_dir / "postgres").resolve()) is None
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    assert not runs(number)
