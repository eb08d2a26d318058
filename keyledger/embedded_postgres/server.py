"""Start, share and stop the server of one data directory.

    DATA_DIR/postgres/        the cluster, mode 0700, owned by the account that runs the server; its socket lies inside
    DATA_DIR/postgres.log     what the server says; statements and their values are never in it
    DATA_DIR/postgres.lock    held while a process starts or stops the server, so that only one does so at a time
    DATA_DIR/postgres.users   locked, shared, by every process that uses the server; the kernel unlocks it when one dies

Crashes: a cluster is created under another name and renamed when it is complete, so it is either absent or whole. If
the process that started the server dies, the server stays; the next process attaches, and the last one to leave stops
it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from domain.errors import StoreUnavailableError
from keyledger.embedded_postgres import cluster
from keyledger.embedded_postgres.binaries import programs_for
from keyledger.embedded_postgres.socket_folder import forget_socket_folder, socket_folder

Status = Literal["absent", "stopped", "running"]

_KEPT = b"kept"


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One process's use of the server. Leave it at exit, or use it as a context manager."""

    data_dir: Path
    socket_folder: Path
    started_here: bool
    _users: "_Presence" = field(repr=False, compare=False)

    def dsn(self, dbname: str = cluster.SUPERUSER) -> str:
        """A libpq URL of the database `dbname`, which is created if it is not there."""
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (dbname,)).fetchone()
            if known is None:
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(dbname)))
        return self.url_of(dbname)

    def keep(self) -> None:
        """Keep the server running after the last user left, until `stop`."""
        self._users.path.write_bytes(_KEPT)

    def leave(self) -> None:
        """Stop using the server, and stop it if no process uses it and it need not be kept. May be called twice."""
        with _one_at_a_time(self.data_dir):
            if self._users.give_up() and self._users.path.read_bytes() != _KEPT and self._users.nobody_left():
                _stop(self.data_dir)

    def stop(self) -> None:
        """Stop the server, even if other processes use it."""
        self._users.give_up()
        stop(self.data_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def url_of(self, dbname: str) -> str:
        """A libpq URL of a database, whether it is there or not."""
        # Everything is spelled out, so that PGPORT and similar variables change nothing.
        database, host = quote(dbname, safe=""), quote(str(self.socket_folder), safe="")
        return f"postgresql://{cluster.SUPERUSER}@/{database}?host={host}&port={cluster.PORT}"


def start(data_dir: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """Attach to the server of `data_dir`, creating its cluster and starting it first where that is needed.

    `durable=False` survives a killed server but no power cut. It is for tests, and without effect on a running server.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    with _one_at_a_time(data_dir):
        folder = _folder(data_dir)
        starts = not cluster.answers(socket_folder(data_dir, folder))
        if starts:
            programs = programs_for(folder)
            cluster.create(folder, programs, durable=durable)
            cluster.launch(folder, socket_folder(data_dir, folder), programs, durable=durable)
            _users_file(data_dir).write_bytes(b"")
        return EmbeddedPostgres(data_dir, socket_folder(data_dir, folder), starts, _Presence.of(_users_file(data_dir)))


def attach(data_dir: Path) -> EmbeddedPostgres | None:
    """The server of `data_dir` if it runs; nothing is created or started."""
    data_dir = data_dir.resolve()
    if status(data_dir) != "running":
        return None
    with _one_at_a_time(data_dir):
        folder = socket_folder(data_dir, _folder(data_dir))
        return EmbeddedPostgres(data_dir, folder, False, _Presence.of(_users_file(data_dir)))


def address(data_dir: Path) -> str | None:
    """The address of the server of `data_dir` if it runs, without becoming one of its users."""
    data_dir = data_dir.resolve()
    if status(data_dir) != "running":
        return None
    with _one_at_a_time(data_dir):
        folder = socket_folder(data_dir, _folder(data_dir))
    return EmbeddedPostgres(data_dir, folder, False, _Presence(_users_file(data_dir), None)).url_of(cluster.SUPERUSER)


def status(data_dir: Path) -> Status:
    """The status of the server of `data_dir`, by whether it answers, not by its lock file."""
    data_dir = data_dir.resolve()
    if not _folder(data_dir).exists():
        return "absent"
    with _one_at_a_time(data_dir):
        if cluster.answers(socket_folder(data_dir, _folder(data_dir))):
            return "running"
        forget_socket_folder(data_dir, _folder(data_dir))
        return "stopped"


def stop(data_dir: Path) -> bool:
    """Stop the server of `data_dir`, even if processes use it. False if none was running."""
    data_dir = data_dir.resolve()
    if not _folder(data_dir).exists():
        return False
    with _one_at_a_time(data_dir):
        return _stop(data_dir)


@dataclass
class _Presence:
    """Our share of the lock by which the processes that use the server are counted."""

    path: Path
    _handle: int | None

    @classmethod
    def of(cls, path: Path) -> Self:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)
        return cls(path, handle)

    def give_up(self) -> bool:
        """False if it was given up before."""
        if self._handle is None:
            return False
        os.close(self._handle)
        self._handle = None
        return True

    def nobody_left(self) -> bool:
        with self.path.open("rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


def _stop(data_dir: Path) -> bool:
    stopped = cluster.halt(_folder(data_dir))
    forget_socket_folder(data_dir, _folder(data_dir))
    return stopped


def _folder(data_dir: Path) -> Path:
    return data_dir / "postgres"


def _users_file(data_dir: Path) -> Path:
    return data_dir / "postgres.users"


@contextmanager
def _one_at_a_time(data_dir: Path) -> Iterator[None]:
    try:
        with (data_dir / "postgres.lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    except PermissionError as problem:
        raise StoreUnavailableError(
            f"{problem.filename or data_dir} belongs to another user: start KeyLedger as that user, or set DATA_DIR to"
            " a directory of your own"
        ) from problem
