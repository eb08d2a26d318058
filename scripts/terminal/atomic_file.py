"""A file that is there whole or not at all.

Promises: what is written goes to `NAME.partial-...` beside it, readable by its owner alone, and takes the name at the
end, when it is on disk; a block that is left by an error leaves neither. A process that is killed leaves the partial
file, which nobody can take for the whole.
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
    """Give a file to write to, here or by its name, that becomes `path` when the block ends well.

    Raises CommandError when it cannot be written.
    """
    if path.is_dir():
        raise CommandError(Exit.USAGE, f"{path} is a folder; name a file")
    # The name is known before the file is there, so that Ctrl-C at any moment finds what to take away.
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
