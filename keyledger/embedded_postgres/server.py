"""Start, share, start again and stop the server of one data directory.

    DATA_DIR/postgres/        the cluster, mode 0700, owned by the account that runs the server; its socket lies inside
    DATA_DIR/postgres.log     what the server says; statements and their values are never in it
    DATA_DIR/postgres.lock    held while a process starts or stops the server, so that only one does so at a time
    DATA_DIR/postgres.users   locked, shared, by every process that uses the server; says whether the server is to run

Crashes: a cluster is created under another name and renamed when it is complete, so it is either absent or whole. If
the process that started the server dies, the server stays; the next process attaches, and the last one to leave stops
it. If the server dies, each of its users may start it again (`revive`), and exactly one does.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict

from keyledger.embedded_postgres import cluster, postmaster
from keyledger.embedded_postgres.binaries import programs_for
from keyledger.embedded_postgres.causes import error_of, errors_named
from keyledger.embedded_postgres.revival import Revival, revive
from keyledger.embedded_postgres.socket_folder import forget_socket_folder, socket_folder
from keyledger.embedded_postgres.start_lock import start_lock
from keyledger.embedded_postgres.users import Presence, Wanted, is_unused, users_file, want, wanted

Status = Literal["absent", "stopped", "running"]


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One process's use of the server. Leave it at exit, or use it as a context manager."""

    data_dir: Path
    socket_folder: Path
    started_here: bool
    _users: Presence = field(repr=False, compare=False)

    def dsn(self, dbname: str = cluster.SUPERUSER) -> str:
        """A libpq URL of the database `dbname`, which is created if it is not there."""
        with _errors_of_the_server(), psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (dbname,)).fetchone()
            if known is None:
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(dbname)))
        return self.url_of(dbname)

    def keep(self) -> None:
        """Keep the server running after the last user left, until `stop`."""
        with start_lock(self.data_dir):
            want(self.data_dir, Wanted.KEPT)

    def revive(self, *, wait: bool = False) -> Revival:
        """Start the server again if it has ended and was not stopped on purpose; create nothing.

        wait: for another process that is starting or stopping it. Raises StoreUnavailableError if it does not start.
        """
        with start_lock(self.data_dir, wait=wait) as held:
            if not held:
                return Revival.BUSY
            return revive(_folder(self.data_dir), socket_folder(self.data_dir, _folder(self.data_dir)))

    def can_never_serve(self) -> bool:
        """Whether the server, which rejects clients, lives but neither recovers nor stops."""
        with errors_named(self.data_dir):
            return postmaster.can_never_serve(_folder(self.data_dir))

    def end_if_it_can_never_serve(self) -> bool:
        """End a server that lives but can never serve again, so that it can be started. Asks it before.

        Raises StoreUnavailableError if it does not end.
        """
        folder = _folder(self.data_dir)
        with start_lock(self.data_dir, wait=False) as held:
            if not held or self.answer() != pq.Ping.REJECT or not postmaster.can_never_serve(folder):
                return False
            return postmaster.stop(folder, at_once=True)

    def answer(self) -> pq.Ping:
        """Ask the server once whether it serves."""
        return cluster.ping(self.socket_folder)

    def is_alive(self) -> bool:
        """Whether its process lives and its socket is where clients look for it. Asks the server nothing."""
        with errors_named(self.data_dir):
            alive = postmaster.find(_folder(self.data_dir)) is not None
            return alive and postmaster.socket_of(self.socket_folder).exists()

    def leave(self) -> None:
        """Stop using the server, and stop it if no process uses it and it need not be kept. May be called twice."""
        with start_lock(self.data_dir):
            if self._users.give_up() and wanted(self.data_dir) is not Wanted.KEPT and is_unused(self.data_dir):
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
    with errors_named(data_dir):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    with start_lock(data_dir):
        folder = _folder(data_dir)
        starts = not cluster.answers(socket_folder(data_dir, folder))
        if starts:
            programs = programs_for(folder)
            cluster.create(folder, programs, durable=durable)
            cluster.launch(folder, socket_folder(data_dir, folder), programs, durable=durable)
        if wanted(data_dir) is not Wanted.KEPT:
            want(data_dir, Wanted.SHARED)
        return EmbeddedPostgres(data_dir, socket_folder(data_dir, folder), starts, Presence.of(data_dir))


def attach(data_dir: Path) -> EmbeddedPostgres | None:
    """The server of `data_dir` if it runs; nothing is created or started."""
    return join(data_dir) if status(data_dir) == "running" else None


def join(data_dir: Path) -> EmbeddedPostgres:
    """Become a user of the server of `data_dir`, whether it runs or not; nothing is created or started."""
    data_dir = data_dir.resolve()
    with start_lock(data_dir):
        return EmbeddedPostgres(data_dir, socket_folder(data_dir, _folder(data_dir)), False, Presence.of(data_dir))


def leads_to_server(dsn: str, data_dir: Path) -> bool:
    """Whether an address is that of a database on the server of `data_dir`, running or not."""
    host = conninfo_to_dict(dsn).get("host")
    return isinstance(host, str) and Path(host).resolve() == _folder(data_dir.resolve())


def address(data_dir: Path) -> str | None:
    """The address of the server of `data_dir` if it runs, without becoming one of its users."""
    data_dir = data_dir.resolve()
    if status(data_dir) != "running":
        return None
    with start_lock(data_dir):
        folder = socket_folder(data_dir, _folder(data_dir))
    return EmbeddedPostgres(data_dir, folder, False, Presence(users_file(data_dir))).url_of(cluster.SUPERUSER)


def status(data_dir: Path) -> Status:
    """The status of the server of `data_dir`, by whether it answers, not by its lock file."""
    data_dir = data_dir.resolve()
    if not _folder(data_dir).exists():
        return "absent"
    with start_lock(data_dir):
        if cluster.answers(socket_folder(data_dir, _folder(data_dir))):
            return "running"
        _forget_address_if_unused(data_dir)
        return "stopped"


def stop(data_dir: Path) -> bool:
    """Stop the server of `data_dir`, even if processes use it, and have it stay stopped. False if none was running."""
    data_dir = data_dir.resolve()
    if not _folder(data_dir).exists():
        return False
    with start_lock(data_dir):
        want(data_dir, Wanted.STOPPED)
        return _stop(data_dir)


def _stop(data_dir: Path) -> bool:
    stopped = cluster.halt(_folder(data_dir))
    _forget_address_if_unused(data_dir)
    return stopped


def _forget_address_if_unused(data_dir: Path) -> None:
    """Processes that use the server keep the address they have, also while it is down."""
    if is_unused(data_dir):
        forget_socket_folder(data_dir, _folder(data_dir))


def _folder(data_dir: Path) -> Path:
    return data_dir / "postgres"


@contextmanager
def _errors_of_the_server() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DiskFull as problem:
        raise error_of("PostgreSQL cannot make the database", str(problem).encode(), Path()) from problem
