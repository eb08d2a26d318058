"""Replacing a small file so that a crash at any point leaves it whole: the old one, or the new one.

Promises: what `replace_file` returned from is on disk; only its owner can read the file. After an OSError the old file,
if there was one, is as it was. Processes that read and replace it under `alone` do so one after the other.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class UnreadableFileError(Exception):
    """The file exists, but cannot be read or does not hold what it should."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes, and other threads, out of the file at `path` until the end. Raises OSError.

    The lock is a file beside it, because the file itself is another one after each replacement.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        with suppress(ImportError):  # Windows has none: there the file is for one process at a time
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file at `path`, mode 0600. The folder is made, mode 0700. Raises OSError."""
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=folder)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(draft).unlink()
        raise
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a crash of the machine, where the system lets a folder be synced."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
