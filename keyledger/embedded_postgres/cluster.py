"""Create a cluster and run its server.

Crashes: a cluster is created under another name and renamed when it is complete, so it is either absent or whole.

As root, the server runs as another account, which may not be able to walk to the cluster (a clone under /root). It is
therefore started inside it and told that its data is in its working directory: no directory on the way has to be
opened.

The server gets an environment of its own, so none of our variables, above all no encryption key, reaches its processes.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg import pq

from domain.errors import StoreUnavailableError
from keyledger.embedded_postgres import postmaster
from keyledger.embedded_postgres.binaries import Programs
from keyledger.embedded_postgres.causes import error_of
from keyledger.embedded_postgres.sizes import sizes_on

SUPERUSER = "keyledger"
PORT = 5432
PATIENCE = 60.0
RECOVERING = "it is recovering after a crash, or stopping"
_PATIENCE_WITH_ORPHANS = 10.0
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # No bind value, no statement text and no row of a failed constraint ever reaches the log.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# What is committed still reaches the operating system: it survives a killed server, though not a power cut.
_NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# Referenced for as long as we live: a server may outlive us, and must not be reported as a forgotten child.
_children: list["subprocess.Popen[bytes]"] = []


def create(folder: Path, programs: Programs, *, durable: bool) -> None:
    """Create a cluster in `folder` unless there is one. Refuses a cluster of another major version."""
    if folder.exists():
        require_version(folder, programs)
        return
    draft = folder.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)  # what a crash left of an earlier try
    draft.mkdir(mode=0o700)
    if programs.account is not None:
        os.chown(draft, programs.account.uid, programs.account.gid)
    options = [
        "--auth-local=trust",
        "--auth-host=reject",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        f"--username={SUPERUSER}",
    ]
    initdb = _spawn("initdb", options if durable else [*options, "--no-sync"], draft, programs, subprocess.PIPE)
    said, _ = initdb.communicate()
    if initdb.returncode != 0:
        raise error_of(f"cannot create a database cluster in {folder.parent}", said, draft)
    draft.rename(folder)


def require_version(folder: Path, programs: Programs) -> None:
    """Refuse a cluster of another major version."""
    found = (folder / "PG_VERSION").read_text().strip()
    if found != programs.major_version:
        raise StoreUnavailableError(
            f"{folder} was made by PostgreSQL {found} and cannot be opened by {programs.major_version}: dump it"
            " with the KeyLedger release that made it, and load the dump into a new DATA_DIR",
            brief="its programs are of another version",
        )


def launch(folder: Path, socket_folder: Path, programs: Programs, *, durable: bool, patience: float = PATIENCE) -> None:
    """Start the server of an existing cluster and return when it answers.

    patience: seconds for a server that recovers after a crash; it continues to recover after that.
    """
    settings = {**_SETTINGS, **(sizes_on(folder) if durable else _NOT_DURABLE)}
    options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
    options += ["-c", postmaster.place(), "-c", postmaster.mark(folder)]
    log_file = folder.with_name("postgres.log")
    orphans_leave_by = time.monotonic() + min(patience, _PATIENCE_WITH_ORPHANS)
    _reap()
    while True:
        postmaster.disown_stale_lock_files(folder)
        with _opened_log(log_file) as log:
            begin = os.lseek(log, 0, os.SEEK_END)
            server = _spawn("postgres", options, folder, programs, log)
        _children.append(server)
        if _comes_up(server, socket_folder, patience):
            return
        said = log_file.read_bytes()[begin:]
        if b"shared memory block" not in said or time.monotonic() > orphans_leave_by:
            raise error_of(f"PostgreSQL does not start (its whole log is in {log_file})", said, folder)
        time.sleep(0.1)  # the processes of a killed server are still on their way out


def answers(socket_folder: Path) -> bool:
    """Whether a server answers there. Waits for one that is starting up or shutting down."""
    deadline = time.monotonic() + PATIENCE
    while (answer := ping(socket_folder)) == pq.Ping.REJECT and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer in {pq.Ping.OK, pq.Ping.REJECT}


def halt(folder: Path) -> bool:
    """Stop the server of `folder` and wait for its end. False if none was running."""
    stopped = postmaster.stop(folder)
    _reap()
    return stopped


def ping(socket_folder: Path) -> pq.Ping:
    """Ask a server once whether it serves."""
    address = f"host='{_quoted(socket_folder)}' port={PORT} user={SUPERUSER} dbname=postgres connect_timeout=5"
    return pq.Ping(pq.PGconn.ping(address.encode()))


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _spawn(
    program: str, options: list[str], folder: Path, programs: Programs, output: int
) -> "subprocess.Popen[bytes]":
    account = programs.account
    try:
        return subprocess.Popen(
            [programs.folder / program, "-D", folder if account is None else "/proc/self/cwd", *options],
            cwd=folder,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            start_new_session=True,  # Ctrl-C in our terminal is for us; we stop the server when we no longer need it
        )
    except OSError as problem:
        who = "" if account is None else f" as user {account.uid}"
        raise StoreUnavailableError(
            f"cannot run {programs.folder / program}{who}: {problem.strerror}. Start KeyLedger as an ordinary user, or"
            " set DATABASE_URL to a PostgreSQL server"
        ) from problem


@contextmanager
def _opened_log(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _comes_up(server: "subprocess.Popen[bytes]", socket_folder: Path, patience: float) -> bool:
    """False if it ended instead. Waits for a server that is recovering after a crash, up to a limit."""
    deadline = time.monotonic() + patience
    while server.poll() is None:
        if ping(socket_folder) == pq.Ping.OK:
            return True
        if time.monotonic() > deadline:
            raise StoreUnavailableError(
                f"PostgreSQL (process {server.pid}) is still recovering after {patience:.0f} s; it continues,"
                " try again later",
                brief=RECOVERING,
            )
        time.sleep(0.01)
    return False


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("'", "\\'")
