"""A real PgBouncer in front of a test's database, as Debian packages it."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.ports import free_port

MISSING = "PgBouncer is not installed (apt-get install pgbouncer)"
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
"""Where programs of the system are; Debian keeps servers outside the PATH of ordinary accounts."""
_PATIENCE_S = 30
_USER = "app"


@dataclass(frozen=True)
class Pooler:
    """The address that clients connect to; `direct_url` bypasses the pooler."""

    url: str
    direct_url: str

    def parts(self) -> dict[str, str]:
        """The parts of its address."""
        return {name: str(value) for name, value in conninfo_to_dict(self.url).items()}


def program() -> str:
    """The program, or skip the test with the reason."""
    found = shutil.which("pgbouncer", path=SEARCHED)
    if found is None:
        pytest.skip(MISSING)
    return found


@contextmanager
def pooled(database_url: str, *settings: str) -> Iterator[Pooler]:
    """A pooler on a free port. settings: lines of its section [pgbouncer], such as `pool_mode = transaction`."""
    port = free_port()
    password = secrets.token_hex(12)
    name = urlsplit(database_url).path.lstrip("/")
    lines = [
        "[databases]",
        f"{name} = {server_of(database_url)}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = scram-sha-256",
        "auth_file = userlist.txt",
        "server_login_retry = 1",  # a login may be cut by a test that terminates connections
        *settings,
    ]
    with configured("\n".join(lines), {_USER: password}, database_url):
        url = f"postgresql://{_USER}:{password}@127.0.0.1:{port}/{name}"
        wait_for(url)
        yield Pooler(url, database_url)


@contextmanager
def configured(configuration: str, users: dict[str, str], database_url: str) -> Iterator[None]:
    """Run it with this file and these passwords, as an unprivileged user, in the folder of the server's socket."""
    folder = Path(tempfile.mkdtemp(prefix="keyledger-pooler-", dir="/tmp"))
    folder.chmod(0o755)
    users_file = folder / "userlist.txt"
    users_file.write_text("".join(f'"{user}" "{password}"\n' for user, password in users.items()))
    settings = folder / "pgbouncer.ini"
    settings.write_text(configuration.replace("userlist.txt", str(users_file)))
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    process = subprocess.Popen(
        [program(), "--quiet", str(settings)],
        cwd=_socket_folder(database_url) or folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def server_of(database_url: str) -> str:
    """Return how the pooler reaches the server: by its working directory, so no folder on the way has to be open."""
    parts = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    wanted = {name: parts[name] for name in ("host", "port", "user", "password", "dbname") if name in parts}
    if _socket_folder(database_url) is not None:
        wanted["host"] = "/proc/self/cwd"
    return " ".join(f"{name}={value}" for name, value in wanted.items())


def _socket_folder(database_url: str) -> Path | None:
    host = str(conninfo_to_dict(database_url).get("host", ""))
    return Path(host).resolve() if host.startswith("/") else None


def wait_for(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with psycopg.connect(url, prepare_threshold=None):
                return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
