"""The exit codes, and the exception that ends a command with one of them.

Promises: every command ends with one of these codes, so that scripts need not parse text.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line. PROPOSED: the command waits for a second person; nothing was changed."""

    OK = 0
    ERROR_FOUND = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    CONFLICT = 5
    PROPOSED = 6


class CommandError(Exception):
    """Ends the command with `code` and prints each of `lines` on stderr. They never hold a secret."""

    def __init__(self, code: Exit, *lines: str) -> None:
        """lines: what happened, and what to do next."""
        super().__init__(code, *lines)
        self.code = code
        self.lines = lines
