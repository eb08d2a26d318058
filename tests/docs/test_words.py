"""One word for each idea: docs/contributing/words.md, counted in names and texts of the packages and the documents."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.places import REPOSITORY
from tests.support.prose import PACKAGES, Prose, files, prose
from tests.support.syntax import tree_of

PAGE = "docs/contributing/words.md"
# What was decided with the words of its day is left unchanged, and so is what was released.
HISTORY = ("CHANGELOG.md", "docs/adr/")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def table() -> list[tuple[str, tuple[str, ...]]]:
    """Each word of the column *not*, with the paths of its exceptions."""
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8").split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    return [
        (word, tuple(span for span in re.findall(r"`([^`]+)`", row[3]) if "/" in span or span.endswith(".md")))
        for row in rows
        for word in re.findall(r"`([^`]+)`", row[2])
    ]


TABLE = table()


def names() -> Iterator[Prose]:
    """The names that the packages define, in lower-case words."""
    for file in files():
        place = file.relative_to(REPOSITORY).as_posix()
        if file.suffix == ".py" and place.split("/")[0] in PACKAGES:
            yield Prose(place, 1, words_of(file.stem))
            for node in ast.walk(tree_of(file.read_text(encoding="utf-8"))):
                if name := _defined(node):
                    yield Prose(place, getattr(node, "lineno", 1), words_of(name))


def words_of(name: str) -> str:
    return " ".join(part.lower() for part in _PART.findall(name))


def _defined(node: ast.AST) -> str | None:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
            return name
    return None


def uses(word: str, excepted: tuple[str, ...], pieces: list[Prose]) -> list[str]:
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.IGNORECASE)
    return [
        f"{piece}: {piece.text.strip()[:80]!r}"
        for piece in pieces
        if not piece.file.startswith(excepted or ("-",)) and pattern.search(piece.text)
    ]


@pytest.fixture(scope="module")
def documents() -> list[Prose]:
    found = [piece for piece in prose() if piece.file.endswith(".md") and not piece.file.startswith("tests/")]
    return [piece for piece in found if not piece.file.startswith((*HISTORY, "benchmarks/"))]


@pytest.fixture(scope="module")
def packages() -> list[Prose]:
    return [piece for piece in prose() if piece.file.split("/")[0] in PACKAGES] + list(names())


@pytest.mark.parametrize(("word", "excepted"), TABLE, ids=[word for word, _ in TABLE])
def test_the_documents_use_the_one_word(word: str, excepted: tuple[str, ...], documents: list[Prose]) -> None:
    found = uses(word, excepted, documents)
    assert not found, "\n".join([f"{PAGE} has another word for {word!r}", *found])


@pytest.mark.parametrize(("word", "excepted"), TABLE, ids=[word for word, _ in TABLE])
def test_the_packages_use_the_one_word(word: str, excepted: tuple[str, ...], packages: list[Prose]) -> None:
    found = uses(word, excepted, packages)
    assert not found, "\n".join([f"{PAGE} has another word for {word!r}", *found])


def test_exceptions_name_places_that_exist() -> None:
    for word, excepted in TABLE:
        for place in excepted:
            assert (REPOSITORY / place).exists() or place == "docs/events.md", (word, place)


def test_names_are_taken_apart() -> None:
    assert words_of("ReplayConflictError") == "replay conflict error"
    assert words_of("_rebuild_HTTPView") == "rebuild http view"
    assert len(TABLE) > 25
