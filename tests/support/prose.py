"""The prose of the project: documents, docstrings, comments and string constants, with their places."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.places import REPOSITORY
from tests.support.syntax import tree_of

PACKAGES = ("domain", "projections", "api", "keyledger", "scripts")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "docs")
_KINDS = {".py", ".md", ".sql", ".yml", ".html", ".css"}
_CODE_SPAN = re.compile(r"`(?:[^`\n]|\n(?!\n))*`")
# A comment begins with the first "#" outside a string. `tokenize` finds the same, and takes much longer.
_STRING_OR_COMMENT = re.compile(
    r"""(?s:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3})|"(?:\\(?s:.)|[^"\\\n])*"|'(?:\\(?s:.)|[^'\\\n])*'|\#[^\n]*"""
)
_ALONE = re.compile(r"\||```|#")
_ITEM = re.compile(r"\s*(?:[-*]|\d+\.)\s")


@dataclass(frozen=True)
class Prose:
    """One piece of text. `text` has code spans blanked out, so that names in backticks are not read as prose."""

    file: str
    line: int
    text: str
    is_docstring: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def files() -> list[Path]:
    """Every file whose prose people read, in a stable order."""
    top = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*.yml"), REPOSITORY / "Makefile"]
    inside = (file for folder in FOLDERS for file in (REPOSITORY / folder).rglob("*"))
    return sorted(top) + sorted(file for file in inside if file.suffix in _KINDS and file.is_file())


@cache
def prose() -> tuple[Prose, ...]:
    """All prose of the project."""
    return tuple(piece for file in files() for piece in prose_of(file))


def prose_of(file: Path) -> Iterator[Prose]:
    """The prose of one file: of a Python file its docstrings, comments and strings with a blank, else its text."""
    name = file.relative_to(REPOSITORY).as_posix()
    source = file.read_text(encoding="utf-8")
    pieces = _of_python(source) if file.suffix == ".py" else _of_lines(source)
    for line, text, is_docstring in pieces:
        yield Prose(name, line, _CODE_SPAN.sub("``", text), is_docstring)


def _of_lines(source: str) -> Iterator[tuple[int, str, bool]]:
    """Paragraphs and list items as a whole, because a phrase may continue on the next line; other lines one by one."""
    first, paragraph = 0, ""
    for number, line in enumerate([*source.splitlines(), ""], 1):
        if paragraph and (not line.strip() or _ALONE.match(line) or _ITEM.match(line)):
            yield first, paragraph, False
            paragraph = ""
        if _ALONE.match(line):
            yield number, line, False
        elif line.strip():
            first = first if paragraph else number
            paragraph += f"{line.strip()}\n"


def _of_python(source: str) -> Iterator[tuple[int, str, bool]]:
    line, counted = 1, 0
    for found in _STRING_OR_COMMENT.finditer(source):
        if found[0].startswith("#"):
            line, counted = line + source.count("\n", counted, found.start()), found.start()
            yield line, found[0].lstrip("# "), False
    docstrings = set()
    for node in ast.walk(tree_of(source)):  # a definition comes before its docstring
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docstrings.add(id(first.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value, id(node) in docstrings
