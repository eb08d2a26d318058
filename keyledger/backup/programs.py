"""Finds the pg_dump, pg_restore and psql for a database, and runs them.

Promises: they are at least as new as the server, and use TLS where this process does. The programs of the embedded
PostgreSQL are preferred where they suffice; they do not support TLS. The programs get only those variables of the
environment that PostgreSQL's own library reads: no encryption key.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domain.errors import StoreUnavailableError
from keyledger.backup.errors import BackupError
from keyledger.embedded_postgres.binaries import folder_of_programs
from projections.database.connections import BoundedConnection, connect_bounded, unavailable

_VERSION = re.compile(r"\) (\d+)")
_DEBIAN = Path("/usr/lib/postgresql")
_UNSPEAKABLE = ("sslpassword", "oauth_client_secret")


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs for one database."""

    folder: Path
    server_version: int
    _address: str
    _environment: Mapping[str, str]

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of a program that does not connect."""
        return [str(self.folder / program), *arguments]

    def connecting(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of a program that connects to the database. The password is in `environment`."""
        return self.command(program, "--no-password", f"--dbname={self._address}", *arguments)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of each program."""
        return dict(self._environment)


def programs_of(dsn: str, setting: str) -> Programs:
    """Return the programs for the database of a libpq URL or parameter list. setting: the setting that gave it.

    Raises BackupError, StoreUnavailableError.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    if unspeakable := [name for name in _UNSPEAKABLE if name in parts]:
        raise BackupError(f"{unspeakable[0]} in {setting} cannot be given to pg_dump: use a key file without one")
    with unavailable(), connect_bounded(dsn) as connection:
        if connection.pooled:
            raise BackupError(
                f"this needs a direct connection, but {setting} leads to a pooler: set DATABASE_ADMIN_URL to the"
                " server's own address"
            )
        folder = _folder_for(connection)
        version = connection.info.server_version
    password = parts.pop("password", None)
    return Programs(folder, version, make_conninfo("", **parts), _environment(password))


def _folder_for(connection: BoundedConnection) -> Path:
    needed, encrypted = connection.info.server_version // 10000, bool(connection.pgconn.ssl_in_use)
    candidates: list[Path] = [] if encrypted else list(_embedded_programs())
    for folder in [*candidates, *_installed()]:
        if _major_version(folder) >= needed:
            return folder
    tls = " that can use TLS" if encrypted else ""
    raise BackupError(
        f"no pg_dump of PostgreSQL {needed} or newer{tls} is installed: install the package postgresql-client-{needed}"
    )


def _embedded_programs() -> Iterator[Path]:
    try:
        yield folder_of_programs()
    except StoreUnavailableError:
        return


def _installed() -> Iterator[Path]:
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    versions = (path for path in _DEBIAN.glob("*/bin/pg_dump") if path.parts[-3].isdecimal())
    yield from (path.parent for path in sorted(versions, key=lambda path: -int(path.parts[-3])))


def _major_version(folder: Path) -> int:
    """Return the version of the programs in a folder, 0 where one is missing."""
    if not all((folder / program).exists() for program in ("pg_dump", "pg_restore", "psql")):
        return 0
    try:
        said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    found = _VERSION.search(said)
    return int(found[1]) if found else 0


def _environment(password: str | None) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name.startswith("PG") or name in {"HOME", "TMPDIR"}}
    given = {} if password is None else {"PGPASSWORD": password}
    return {"PATH": "/usr/bin:/bin", **ours, **given, "LC_ALL": "C", "TZ": "UTC"}
