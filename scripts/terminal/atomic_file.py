"""Atomic writing: a file exists completely or not at all.

Promises: content goes to `NAME.partial-...` in the same folder, readable by its owner only, and is renamed once it is
on disk; after an error neither file exists. A killed process leaves the partial file, recognisable by its name.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scripts.terminal.exits import CommandError, Exit


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file, to be written directly or by its name, that becomes `path` when the block succeeds.

    Raises CommandError when it cannot be written.
    """
    if path.is_dir():
        raise CommandError(Exit.USAGE, f"{path} is a folder, not a file")
    # The name is chosen before the file exists, so that it can be removed after Ctrl-C at any moment.
    partial = path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")
    try:
        with _created(partial, path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as problem:
        raise CommandError(Exit.REFUSED, f"cannot write {path}: {problem.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _created(partial: Path, path: Path) -> IO[bytes]:
    try:
        return open(partial, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))
    except OSError as problem:
        raise CommandError(Exit.USAGE, f"cannot write {path}: {problem.strerror}") from None
