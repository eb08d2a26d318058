"""Confirmation of commands that cannot be undone.

Promises: without a terminal to ask on, the command fails and points to `--yes`. Questions are printed on stderr.
"""

import sys
from typing import Annotated

import typer

from domain.text.visible_text import visible
from scripts.terminal.exits import CommandError, Exit

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def confirm(question: str, otherwise: str) -> None:
    """Ask a yes-or-no question. otherwise: the outcome of a no, such as `nothing was changed`.

    Raises CommandError when the answer is no, and without a terminal to ask on.
    """
    _require_terminal()
    if not typer.confirm(visible(question), err=True):
        raise CommandError(Exit.REFUSED, f"not confirmed; {otherwise}")


def confirm_by_typing(word: str, question: str, otherwise: str) -> None:
    """Ask the user to type `word`. Raises CommandError as `confirm` does."""
    _require_terminal()
    if typer.prompt(visible(question), err=True, default="", show_default=False) != word:
        raise CommandError(Exit.REFUSED, f"not confirmed; {otherwise}")


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "there is no terminal to confirm on; pass --yes")
