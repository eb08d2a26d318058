"""What a person or a program sees: data on stdout, talk on stderr, tables for people and JSON for programs.

Promises: with `--json` stdout holds one JSON document and nothing else; a table fits the terminal (see `tables`), and
is one whole line for each row with `--wide` or into a pipe; colour follows the terminal and NO_COLOR. Text from
elsewhere cannot mark up, move the cursor or turn the direction of writing (see `visible`).
"""

import sys
from dataclasses import replace
from shutil import get_terminal_size
from typing import Annotated

import typer

from domain.credentials.key_shapes import masked
from scripts.terminal.tables import Table, broken, laid_out
from scripts.terminal.visible import visible, visible_json

__all__ = ["JsonOption", "Table", "WideOption", "print_hanging", "print_json", "print_line", "print_table", "say"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
WideOption = Annotated[bool, typer.Option("--wide", help="One line for each row, however wide the terminal is.")]


def print_json(data: object) -> None:
    """Print one JSON document on stdout."""
    typer.echo(visible_json(data))


def print_table(table: Table, *, wide: bool = False) -> None:
    """Print a table on stdout, keys that were mistaken for something else as masks. wide: as a pipe would get it."""
    shown = replace(table, rows=[[masked(cell) for cell in row] for row in table.rows])
    for number, line in enumerate(laid_out(shown, None if wide else _width())):
        print_line(line, style="bold" if number == 0 else "")
    typer.echo()


def print_line(text: str, *, style: str = "") -> None:
    """Print a line for people on stdout, in a rich style such as `bold` where the terminal has it."""
    shown = visible(text, keep="\n")
    if not style or not sys.stdout.isatty():
        typer.echo(shown)
        return
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(shown, style=style), soft_wrap=True)


def print_hanging(text: str, indent: str) -> None:
    """Print a text on stdout behind `indent`, what does not fit into the terminal a little further in below it."""
    width = _width()
    further = indent + "  "
    shown = visible(text)
    lines = [shown] if width is None else broken(shown, width - len(further))
    for number, line in enumerate(lines):
        typer.echo((further if number else indent) + line)


def say(text: str) -> None:
    """Tell a person something on stderr, with the mask alone of a key that was mistaken for a name or a file."""
    typer.echo(masked(visible(text, keep="\n")), err=True)


def _width() -> int | None:
    """Return how many cells the terminal on stdout has in a row, None where stdout is none."""
    return get_terminal_size().columns if sys.stdout.isatty() else None
