"""Tables for a terminal: what fits alongside what, where a cell may be broken, and what must stay whole."""

import ast
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from scripts.main import command_line
from scripts.terminal.cells import cells_of
from scripts.terminal.tables import Table, broken, laid_out
from tests.support.places import REPOSITORY

TENANT = "8b0f6c1e-3d52-4a71-9e0c-5f2d7a64b913"
COLUMNS = ("position", "time (UTC)", "action", "tenant", "reason")
ROW = ("41", "2026-01-31 12:00:00", "request-refused 422 invalid-request", TENANT, "the customer asked, ticket 4711")
LONG = Table(COLUMNS, [ROW, ("42", "2026-01-31 12:00:09", "set", TENANT, "")], less=("reason", "tenant"))


def test_a_table_that_fits_is_one_line_for_each_row():
    assert list(laid_out(Table(("key", "state"), [("k0123456789", "primary")]), 80)) == [
        "key          state",
        "--------------------",
        "k0123456789  primary",
    ]


def test_what_matters_less_goes_below_its_row_and_only_as_much_as_needed():
    assert list(laid_out(LONG, 80)) == [
        "position  time (UTC)           action",
        "------------------------------------------------------------------",
        "41        2026-01-31 12:00:00  request-refused 422 invalid-request",
        f"    tenant: {TENANT}",
        "    reason: the customer asked, ticket 4711",
        "42        2026-01-31 12:00:09  set",
        f"    tenant: {TENANT}",
    ]
    assert next(iter(laid_out(LONG, 120))).endswith("tenant")


def test_what_still_does_not_fit_is_broken_by_its_meaning():
    assert list(laid_out(LONG, 46))[2:4] == [
        "41        2026-01-31 12:00:00  request-refused",
        "                               422 invalid-",
    ]


def test_without_a_width_each_row_is_one_whole_line():
    header, _, first, second = laid_out(LONG, None)
    assert header.split() == ["position", "time", "(UTC)", "action", "tenant", "reason"]
    assert all(cell in first for cell in ROW) and TENANT in second


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("one two three", ["one two", "three"], id="at blanks"),
        pytest.param("a=1,bcd=2,e=3", ["a=1,bcd=2,", "e=3"], id="at commas"),
        pytest.param("https://llm.example/v1", ["https://llm.", "example/v1"], id="a URL"),
        pytest.param("/var/lib/keyledger", ["/var/lib/", "keyledger"], id="a path"),
        pytest.param("credential-rejected", ["credential-", "rejected"], id="a hyphen between words"),
        pytest.param("k0123456789abc", ["k0123456789abc"], id="an id"),
        pytest.param(TENANT, [TENANT], id="a UUID"),
        pytest.param(f"of {TENANT} now", ["of", TENANT, "now"], id="a UUID in a text"),
        pytest.param("2026-01-31T12:00:00Z", ["2026-01-31T12:00:00Z"], id="a time"),
        pytest.param("sk-0123456789", ["sk-0123456789"], id="a hyphen before digits"),
        pytest.param(
            "漢 " * 5,
            [
                "漢 " * 3 + "漢",
                "漢",
            ],
            id="wide letters",
        ),
        pytest.param("", [""], id="nothing"),
    ],
)
def test_a_text_is_broken_where_its_meaning_allows_it(text, lines):
    assert broken(text, 12) == lines


CELLS = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=40) | st.uuids().map(str)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4), st.integers(20, 120))
def test_nothing_is_left_out_and_ids_stay_whole(rows, width):
    shown = list(laid_out(Table(("a", "b", "c"), rows, less=("b",)), width))
    letters = "".join("".join(shown).split())
    for row in rows:
        for cell in row:
            assert sorted(set("".join(cell.split()))) == sorted(set("".join(cell.split())) & set(letters))
            if len(cell) == 36 and cell.count("-") == 4:
                assert any(cell in line for line in shown)


@given(st.text(st.characters(categories=("L", "N", "P", "Zs"))), st.integers(10, 80))
def test_a_line_is_too_long_only_where_nothing_may_be_broken(text, width):
    lines = broken(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cells_of(line) <= width or " " not in line.strip() for line in lines)


def calls_of(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a function in the commands, by file."""
    return [
        (path.name, node)
        for path in sorted((REPOSITORY / "scripts/commands").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_every_table_of_a_command_can_be_printed_wide() -> None:
    narrow = {file for file, call in calls_of("print_table") if "wide" not in {word.arg for word in call.keywords}}
    assert narrow == {"run.py"}, "the tour only"
    assert len(calls_of("print_table")) > 15


def test_every_command_that_prints_wide_has_the_option() -> None:
    def below(command: Any) -> Iterator[Any]:
        for inner in getattr(command, "commands", {}).values():
            yield from below(inner)
        if not hasattr(command, "commands"):
            yield command

    commands = list(below(typer.main.get_command(command_line())))
    wide = {command.callback.__module__ for command in commands if "wide" in {one.name for one in command.params}}
    assert {f"scripts.commands.{file.removesuffix('.py')}" for file, _ in calls_of("print_table")} - wide == {
        "scripts.commands.run"
    }
