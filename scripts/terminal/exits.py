"""How a command ends: the exit codes, and the one exception that carries a code and what to say.

Promises: every way to end is one of these codes, so that scripts can decide without reading text.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FAULT_FOUND = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    CONFLICT = 5


class CommandError(Exception):
    """Ends the command with `code`; `lines` go to stderr, one each. They never hold a secret."""

    def __init__(self, code: Exit, *lines: str) -> None:
        super().__init__(code, *lines)
        self.code = code
        self.lines = lines
