"""Asking a person before something that cannot be undone.

Promises: without a terminal nothing is assumed: the command ends and names `--yes`. Questions go to stderr.
"""

import sys
from typing import Annotated

import typer

from scripts.terminal.exits import CommandError, Exit

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def confirm(question: str, otherwise: str) -> None:
    """Ask a yes-or-no question. otherwise: what was not done, such as `nothing was changed`.

    Raises CommandError when the answer is no, and where there is no terminal to ask on.
    """
    _require_terminal()
    if not typer.confirm(question, err=True):
        raise CommandError(Exit.REFUSED, f"not confirmed; {otherwise}")


def confirm_by_typing(word: str, question: str, otherwise: str) -> None:
    """Ask for `word` to be typed. Raises CommandError as `confirm` does."""
    _require_terminal()
    if typer.prompt(question, err=True, default="", show_default=False) != word:
        raise CommandError(Exit.REFUSED, f"not confirmed; {otherwise}")


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "there is no terminal to confirm on; give --yes")
