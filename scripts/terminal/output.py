"""Output: data on stdout, messages on stderr, tables for people and JSON for programs.

Promises: with `--json`, stdout holds one JSON document and nothing else; a table fits the terminal (see `tables`), and
with `--wide` or in a pipe each row is one line; colour follows the terminal and NO_COLOR. Text from elsewhere cannot
add markup, move the cursor, begin a line or change the writing direction (see `domain.text.visible_text`).
"""

import json
import sys
from codecs import getincrementaldecoder
from dataclasses import replace
from shutil import get_terminal_size
from typing import Annotated

import typer

from domain.credentials.key_shapes import masked
from domain.text.visible_text import visible, visible_json
from scripts.terminal.tables import Table, broken, laid_out

__all__ = [
    "DataOutput",
    "JsonOption",
    "Table",
    "WideOption",
    "print_hanging",
    "print_json",
    "print_line",
    "print_table",
    "say",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
WideOption = Annotated[
    bool, typer.Option("--wide", help="Print each row on one line, even where it is wider than the terminal.")
]


def print_json(data: object) -> None:
    """Print one JSON document on stdout."""
    typer.echo(visible_json(json.dumps(data, indent=2, ensure_ascii=False)))


class DataOutput:
    """Stdout for data that programs read. A terminal gets it as text that is as safe as all other output."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("backslashreplace") if sys.stdout.isatty() else None

    def write(self, piece: bytes) -> None:
        """Write a piece. Raises OSError."""
        if self._decoder is None:
            sys.stdout.buffer.write(piece)
        else:
            lines = self._decoder.decode(piece).replace("\r\n", "\n").split("\n")
            sys.stdout.write("\n".join(map(visible, lines)))

    def flush(self) -> None:
        """Write what is still kept back. Raises OSError."""
        sys.stdout.flush()


def print_table(table: Table, *, wide: bool = False) -> None:
    """Print a table on stdout; anything that looks like an API key is masked. wide: one line for each row."""
    shown = replace(table, rows=[[masked(cell) for cell in row] for row in table.rows])
    for number, line in enumerate(laid_out(shown, None if wide else _width())):
        print_line(line, style="bold" if number == 0 else "")
    typer.echo()


def print_line(text: str, *, style: str = "") -> None:
    """Print a line on stdout. style: a Rich style such as `bold`, used on a terminal only."""
    shown = visible(text)
    if not style or not sys.stdout.isatty():
        typer.echo(shown)
        return
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(shown, style=style), soft_wrap=True)


def print_hanging(text: str, indent: str) -> None:
    """Print a text on stdout with a hanging indent: wrapped lines are indented two cells further than `indent`."""
    width = _width()
    further = indent + "  "
    shown = visible(text)
    lines = [shown] if width is None else broken(shown, width - len(further))
    for number, line in enumerate(lines):
        typer.echo((further if number else indent) + line)


def say(text: str) -> None:
    """Print a message on stderr; anything in it that looks like an API key is masked."""
    typer.echo(masked(visible(text)), err=True)


def _width() -> int | None:
    """Return the width of the terminal in cells, or None where stdout is not a terminal."""
    return get_terminal_size().columns if sys.stdout.isatty() else None
