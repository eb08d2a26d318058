"""The reason of a change: an option of the commands that change something, and the header that carries it."""

from typing import Annotated

import typer

from scripts.terminal.exits import CommandError, Exit

_LONGEST = 500
ReasonOption = Annotated[
    str | None,
    typer.Option(
        "--reason", help="Reason for the change, kept in the audit trail.", metavar="TEXT", show_default=False
    ),
]


def reason_header(reason: str | None) -> dict[str, str]:
    """Return the header of a reason, if there is one. Raises CommandError for one that is not a line of text."""
    require_reason(reason)
    return {} if reason is None else {"X-Audit-Reason": reason}


def require_reason(reason: str | None) -> None:
    """Raise CommandError for a reason that is not a line of text, or too long to be kept."""
    if reason is not None and not (reason.strip() and reason.isprintable() and len(reason) <= _LONGEST):
        raise CommandError(Exit.USAGE, f"--reason must be one line of printable text, at most {_LONGEST} characters")
