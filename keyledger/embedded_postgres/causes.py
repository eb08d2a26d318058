"""Names what keeps the server from starting, and the remedy, in one sentence.

Promises: a cause is recognised by what the server or the operating system says about it, wherever in its output that
is; of anything else the last lines are passed on. A cause in brief has no path and no text of another program, so
`/readyz` may show it.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from domain.errors import StoreUnavailableError

_SEGMENT = 16 * 1024 * 1024  # the server writes its log of changes in files of this size
_ANOTHER_SERVER = "or set DATABASE_URL to another PostgreSQL server"


@dataclass(frozen=True)
class Cause:
    """A cause in brief, and what to do about it."""

    brief: str
    remedy: str


_FULL = Cause("the disk is full", "free space on the disk of DATA_DIR")
_READ_ONLY = Cause("the disk is read-only", "make the disk of DATA_DIR writable")
_QUOTA = Cause("the disk quota is used up", "free space in DATA_DIR or raise the quota")
_BROKEN_DISK = Cause("the disk reports errors", "replace it and restore a backup")
_NOT_ALLOWED = Cause(
    "another account owns its files",
    "start KeyLedger as the owner of DATA_DIR, or set DATA_DIR to a directory of your own",
)
_OF_THE_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _QUOTA,
    errno.EROFS: _READ_ONLY,
    errno.EIO: _BROKEN_DISK,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
}
# The first that matches counts: a full /dev/shm and a full disk have the same last words.
_SAID = [
    (
        r"shared memory segment .*No space left on device",
        Cause(
            "the shared memory in /dev/shm is too small",
            f"give it 64 MB (in Docker: --shm-size=64m), {_ANOTHER_SERVER}",
        ),
    ),
    (r"No space left on device", _FULL),
    (r"Disk quota exceeded", _QUOTA),
    (r"Read-only file system", _READ_ONLY),
    (r"Input/output error", _BROKEN_DISK),
    (
        r"Cannot allocate memory|Out of memory",
        Cause("there is too little memory", f"leave it 256 MB of memory, {_ANOTHER_SERVER}"),
    ),
    (
        r"pre-existing shared memory block|lock file .* already exists",
        Cause("another server still has the cluster open", "end every process `postgres` that works in DATA_DIR"),
    ),
    (r"Permission denied|wrong ownership|invalid permissions", _NOT_ALLOWED),
    (
        r"could not find the database system|valid checkpoint record|in control file|invalid data in file",
        Cause("the cluster is damaged", "restore a backup into a new DATA_DIR"),
    ),
]


def error_of(failure: str, said: bytes, folder: Path) -> StoreUnavailableError:
    """Return the error for what a program of PostgreSQL said when it failed. failure: as a clause. folder: the cluster.

    A server on a full disk cannot even write down why it ends, so the free space is looked at, too.
    """
    text = said.decode(errors="replace")
    cause = next((cause for pattern, cause in _SAID if re.search(pattern, text)), None)
    if cause is None and not text.strip() and _is_full(folder):
        cause = _FULL
    if cause is not None:
        return StoreUnavailableError(f"{failure}, because {cause.brief}: {cause.remedy}", brief=cause.brief)
    return StoreUnavailableError(f"{failure}: {' / '.join(text.strip().splitlines()[-4:])}")


@contextmanager
def errors_named(data_dir: Path) -> Iterator[None]:
    """Turn errors of the operating system into a StoreUnavailableError that names the cause and the remedy."""
    try:
        yield
    except OSError as problem:
        place = problem.filename or data_dir
        cause = _OF_THE_SYSTEM.get(problem.errno or 0)
        if cause is None:
            raise StoreUnavailableError(f"cannot use {place}: {problem.strerror or problem}") from problem
        raise StoreUnavailableError(
            f"cannot use {place}, because {cause.brief}: {cause.remedy}", brief=cause.brief
        ) from problem


def _is_full(folder: Path) -> bool:
    for place in (folder, folder / "pg_wal"):
        with suppress(OSError):
            if shutil.disk_usage(os.path.realpath(place)).free < _SEGMENT:
                return True
    return False
