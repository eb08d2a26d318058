"""What a person or a program sees: data on stdout, talk on stderr, tables for people and JSON for programs.

Promises: with `--json` stdout holds one JSON document and nothing else; a table is never cut to fit a pipe; colour
follows the terminal and NO_COLOR. Text from elsewhere is shown as it is: it cannot mark up or move the cursor.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from domain.key_shapes import masked

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

_PIPE_WIDTH = 240


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns, as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str | None = None


def print_json(data: object) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(table: Table) -> None:
    """Print a table on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)


def print_line(text: str, *, style: str = "") -> None:
    """Print a line for people on stdout, in a rich style such as `bold` where the terminal has it."""
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(text, style=style), soft_wrap=True)


def say(text: str) -> None:
    """Tell a person something on stderr, with the mask alone of a key that was mistaken for a name or a file."""
    typer.echo(masked(text), err=True)
