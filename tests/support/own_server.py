"""A PostgreSQL of a test's own, reached over TCP, with passwords, rules and, where it can, TLS of its own."""

import datetime
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyledger.embedded_postgres.binaries import Account, programs_for
from tests.support.ports import free_port

OWNER = "owner"
_PATIENCE_S = 60


@dataclass(frozen=True)
class OwnServer:
    """The server's port, and the password of its superuser."""

    port: int
    password: str

    def url(self, database: str = "postgres", user: str = OWNER, password: str | None = None, query: str = "") -> str:
        secret = quote(self.password if password is None else password)
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}{query}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


def installed_programs() -> Path | None:
    """The programs of the newest PostgreSQL of the system, as Debian lays them out."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def own_server(rules: Sequence[str] = (), programs: Path | None = None, fsync: str = "on") -> Iterator[OwnServer]:
    """A server for as long as the block lasts. rules: lines of pg_hba.conf before the one that asks for a password.

    programs: those of another PostgreSQL than the embedded one. fsync: the server's setting.
    """
    folder = Path(tempfile.mkdtemp(prefix="keyledger-server-", dir="/tmp"))
    found = programs_for(folder / "data")
    place = _Place(folder, programs or found.folder, found.account)
    password = secrets.token_hex(8)
    try:
        place.make(password, [*rules, "host all all 127.0.0.1/32 scram-sha-256"])
        with place.running(fsync) as port:
            yield OwnServer(port, password)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class _Place:
    folder: Path
    programs: Path
    account: Account | None

    @property
    def has_tls(self) -> bool:
        """Say whether these programs are built with TLS; the embedded ones are not."""
        return self.programs == installed_programs()

    def make(self, password: str, rules: Sequence[str]) -> None:
        (self.folder / "password").write_text(password)
        self._give_away()
        options = ["--auth=scram-sha-256", "--pwfile=password", f"--username={OWNER}", "--no-sync", "--encoding=UTF8"]
        done = subprocess.run(
            [self.programs / "initdb", "-D", "data", "--locale=C", *options],
            capture_output=True,
            text=True,
            check=False,
            **self._as_account(),
        )
        assert done.returncode == 0, done.stderr
        usable = [rule for rule in rules if self.has_tls or not rule.startswith("hostssl")]
        (self.folder / "data" / "pg_hba.conf").write_text("".join(f"{rule}\n" for rule in usable))
        _make_certificate(self.folder / "data")
        self._give_away()

    @contextmanager
    def running(self, fsync: str = "on") -> Iterator[int]:
        port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(port),
            "fsync": fsync,
            **({"ssl": "on"} if self.has_tls else {}),
            "lc_messages": "C",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [self.programs / "postgres", "-D", "data", *options], stdout=log, stderr=log, **self._as_account()
            )
        try:
            self._wait(port, server)
            yield port
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def _as_account(self) -> dict[str, Any]:
        who = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []} if self.account else {}
        return {"cwd": self.folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}, **who}

    def _give_away(self) -> None:
        if self.account is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self.account.uid, self.account.gid)

    def _wait(self, port: int, server: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _PATIENCE_S
        address = f"host=127.0.0.1 port={port} dbname=postgres user={OWNER} connect_timeout=5"
        while psycopg.pq.PGconn.ping(address.encode()) != psycopg.pq.Ping.OK:
            said = (self.folder / "log").read_text()
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said


def _make_certificate(folder: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "server.key").chmod(0o600)
