"""Tables as lines of text that fit a width, or with one line for each row.

Promises: where rows are too wide, the less important columns move to lines below them, then cells are wrapped, but only
after blanks, commas and slashes, and after dots and hyphens between letters, so an id or a time stays on one line and
can be copied. Nothing is left out.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domain.text.visible_text import visible
from scripts.terminal.cells import cells_of

_GAP = "  "
_INDENT, _FURTHER = "    ", "      "
_WHOLE = re.compile(
    r"([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}\S*)"
)
"""UUIDs and times."""
_PIECE = re.compile(r".+?(?:[\s,]+|(?<![:/])/(?!/)|(?<=[A-Za-z])[.-](?=[A-Za-z])|$)")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under named columns. less: the less important columns, the least important first."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    less: Sequence[str] = ()


def laid_out(table: Table, width: int | None) -> Iterator[str]:
    """Yield the lines of a table: header, rule, rows. width: in terminal cells; None for no limit."""
    rows = [[visible(cell) for cell in row] for row in table.rows]
    beside, below = list(range(len(table.columns))), list[int]()
    for name in table.less:
        if width is None or _total(_natural(table, rows, beside)) <= width:
            break
        below.append(table.columns.index(name))
        beside.remove(below[-1])
    widths = _natural(table, rows, beside) if width is None else _fitted(table, rows, beside, width)
    header = _line([table.columns[at] for at in beside], widths)
    yield header
    yield "-" * _total(widths)
    for row in rows:
        wrapped = [broken(row[at], size) for at, size in zip(beside, widths, strict=True)]
        for number in range(max(map(len, wrapped), default=0)):
            yield _line([lines[number] if number < len(lines) else "" for lines in wrapped], widths)
        yield from _below(table, row, sorted(below), width)


def broken(text: str, width: int) -> list[str]:
    """Wrap a text into lines of at most `width` cells; a piece that must not be broken may be longer."""
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and cells_of(lines[-1]) + cells_of(piece.rstrip()) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(text: str) -> Iterator[str]:
    for number, part in enumerate(_WHOLE.split(text)):
        if number % 2:
            yield part
        else:
            yield from _PIECE.findall(part)


def _fitted(table: Table, rows: Sequence[Sequence[str]], beside: Sequence[int], width: int) -> list[int]:
    """Return column widths that fit, narrowing the widest first; the narrowest possible where none fit."""
    widths = _natural(table, rows, beside)
    texts = [(table.columns[at], *(row[at] for row in rows)) for at in beside]
    least = [max(cells_of(piece.rstrip()) for text in column for piece in ["", *_pieces(text)]) for column in texts]
    while _total(widths) > width:
        room = [size - small for size, small in zip(widths, least, strict=True)]
        if not any(room):
            return widths
        widest = max((at for at, left in enumerate(room) if left), key=lambda at: widths[at])
        widths[widest] -= 1
    return widths


def _natural(table: Table, rows: Sequence[Sequence[str]], beside: Sequence[int]) -> list[int]:
    return [max(map(cells_of, (table.columns[at], *(row[at] for row in rows)))) for at in beside]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (size - cells_of(cell)) for cell, size in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _below(table: Table, row: Sequence[str], columns: Sequence[int], width: int | None) -> Iterator[str]:
    """Yield the lines below a row: `name: value`, as many on a line as fit; a long one gets its own lines."""
    room, line = (width or 0) - len(_FURTHER), ""
    for shown in (f"{table.columns[at]}: {row[at]}" for at in columns if row[at]):
        if line and cells_of(line) + len(_GAP) + cells_of(shown) > room:
            yield from _hanging(line, room)
            line = ""
        line += (_GAP if line else "") + shown
    if line:
        yield from _hanging(line, room)


def _hanging(text: str, room: int) -> Iterator[str]:
    for number, line in enumerate(broken(text, room)):
        yield (_FURTHER if number else _INDENT) + line
