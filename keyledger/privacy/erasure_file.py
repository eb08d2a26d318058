"""The tokens of all who were erased, in DATA_DIR, so that a restored backup brings no one back.

Promises: once `add` returns, the tokens are on disk, and no token is ever removed. The file holds no names: a token
means nothing without the keys that were destroyed.
Refuses: a file with any other line; erasures that cannot be read must not be taken for none.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from keyledger.log.durable_file import UnreadableFileError, alone, replace_file

_TOKEN = re.compile(r"[\w-]{22}", re.ASCII)


class ErasureFile:
    """The file `erasures` in DATA_DIR, and a copy in ANCHOR_DIR where there is one: one token a line."""

    def __init__(self, data_dir: Path, anchor_dir: Path | None = None) -> None:
        self._paths = [folder / "erasures" for folder in (data_dir, anchor_dir) if folder is not None]

    def read(self) -> frozenset[str]:
        """Return the tokens in any of the files. Raises UnreadableFileError."""
        return frozenset[str]().union(*map(_tokens, self._paths))

    def add(self, tokens: Iterable[str]) -> None:
        """Add tokens to every file. Raises UnreadableFileError, OSError."""
        added = frozenset(tokens)
        for path in self._paths:
            with alone(path):
                replace_file(path, "".join(f"{token}\n" for token in sorted(_tokens(path) | added)).encode())


def _tokens(path: Path) -> frozenset[str]:
    try:
        tokens = path.read_text(encoding="ascii").split("\n")[:-1]
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError):
        raise UnreadableFileError from None
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise UnreadableFileError
    return frozenset(tokens)
