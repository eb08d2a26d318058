"""The lock that one process holds while it starts, stops or looks for the server of a data directory.

Promises: the kernel releases it when the process dies. A directory that cannot be used is an error that names why.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyledger.embedded_postgres.causes import errors_named


@contextmanager
def start_lock(data_dir: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock until the block ends. Yields False if another process holds it and this one does not wait.

    Raises StoreUnavailableError for every error of the operating system, also inside the block.
    """
    with errors_named(data_dir), (data_dir / "postgres.lock").open("ab") as handle:
        yield _taken(handle.fileno(), wait=wait)


def _taken(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
