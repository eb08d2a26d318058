"""Replaces a small file so that a crash at any point leaves either the old file or the new one, whole.

Promises: once `replace_file` returns, the content is on disk. Only the owner can read the file. After an OSError the
old file, if any, is unchanged. Processes that read and replace the file under `alone` take turns.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class UnreadableFileError(Exception):
    """The file exists, but cannot be read or has invalid content."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes and threads away from the file at `path` for the duration. Raises OSError.

    The lock is a separate file, because each replacement puts a new file at `path`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        with suppress(ImportError):  # Windows has no such lock: there only one process may use the file
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace_file(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`, mode 0600. Creates the folder if needed, mode 0700. Raises OSError."""
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
    """Make the new name survive a crash of the machine, on systems that can sync a folder."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
