"""How an error ends a process of the command: its exit code, and the lines that say why.

Promises: the text of a foreign exception is never quoted; the code is one of `scripts.terminal.exits`.
"""

from collections.abc import Sequence

from domain.errors import ErrorCode, ServiceError, StoreUnavailableError
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import say

_NO_DATABASE = (
    "the database stopped answering while the command ran, or exceeded the time limit; work done so far is kept: run"
    " the command again"
)
_CONFLICTS = frozenset({ErrorCode.VERSION_CONFLICT, ErrorCode.IDEMPOTENCY_KEY_REUSED, ErrorCode.REPLAY_CONFLICT})


def say_ending(error: Exception) -> Exit:
    """Print the lines for an error, and return the exit code."""
    code, lines = ending_of(error)
    for line in lines:
        say(f"keyledger: {line}")
    return code


def ending_of(error: Exception) -> tuple[Exit, Sequence[str]]:
    """Return the exit code and the lines for an error. The text of a foreign exception is never quoted."""
    if isinstance(error, CommandError):
        return error.code, error.lines
    if isinstance(error, StoreUnavailableError):
        return Exit.UNREACHABLE, [error.reason or _NO_DATABASE]
    if isinstance(error, ServiceError):
        return Exit.CONFLICT if error.code in _CONFLICTS else Exit.REFUSED, [error.detail]
    return _ending_at_start(error)


def _ending_at_start(error: Exception) -> tuple[Exit, Sequence[str]]:
    import psycopg

    from keyledger.settings.errors import SettingsError
    from keyledger.start_error import StartError

    if isinstance(error, SettingsError):
        return Exit.REFUSED, error.lines
    if isinstance(error, StartError):
        return Exit.REFUSED, [str(error)]
    if isinstance(error, psycopg.OperationalError):
        return Exit.UNREACHABLE, ["the database is not answering"]
    return Exit.ERROR_FOUND, [f"unexpected error, {type(error).__name__} at {_place(error)}; please report it"]


def _place(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "an unknown place"
    return f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}"
