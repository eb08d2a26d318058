"""The users of the server of one data directory, and whether it is to run when there are none.

    DATA_DIR/postgres.users   locked, shared, by every process that uses the server; its content says what is wanted

Promises: the kernel gives a process's lock up when it dies, however it dies. What is wanted is written over the same
seven bytes, so a full disk does not keep an operator from stopping the server.
"""

import fcntl
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self


class Wanted(Enum):
    """The wish for the server. SHARED: it runs while it has users. KEPT: until `stop`. STOPPED: never."""

    SHARED = b"shared "
    KEPT = b"kept   "
    STOPPED = b"stopped"


@dataclass
class Presence:
    """Our share of the lock by which the processes that use the server are counted. None: it has been given up."""

    path: Path
    _handle: int | None = None

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Become one of the users."""
        handle = os.open(users_file(data_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)
        return cls(users_file(data_dir), handle)

    def give_up(self) -> bool:
        """False if it was given up before."""
        if self._handle is None:
            return False
        os.close(self._handle)
        self._handle = None
        return True


def is_unused(data_dir: Path) -> bool:
    """Whether no process uses the server. Call it under the start lock."""
    try:
        with users_file(data_dir).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def wanted(data_dir: Path) -> Wanted:
    """Return what is wanted of the server."""
    try:
        said = users_file(data_dir).read_bytes().strip()
    except FileNotFoundError:
        said = b""
    return next((known for known in Wanted if known.value.strip() == said), Wanted.SHARED)


def want(data_dir: Path, what: Wanted) -> None:
    """Record what is wanted of the server."""
    handle = os.open(users_file(data_dir), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(handle, what.value, 0)
    finally:
        os.close(handle)


def users_file(data_dir: Path) -> Path:
    """The path of the file."""
    return data_dir / "postgres.users"
