"""Lists of things, as JSON or as a table, for the commands that show what a service has."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from scripts.terminal.output import Table, print_json, print_table, say

Found = Sequence[Mapping[str, object]]


def print_listing(
    name: str, found: Found, table: Callable[[Found], Table], nothing: str, *, as_json: bool, wide: bool
) -> None:
    """Print a whole list. name: of the list in JSON. nothing: said instead of an empty table."""
    if as_json:
        print_json({name: [dict(one) for one in found], "next": None})
    elif not found:
        say(nothing)
    else:
        print_table(table(found), wide=wide)


def print_usage(
    answer: Mapping[str, object],
    columns: Mapping[str, str],
    less: Sequence[str],
    nothing: str,
    *,
    after: str | None,
    as_json: bool,
    wide: bool,
) -> None:
    """Print one page of records of use, and how to continue after it.

    columns: headings by member. less: the headings to leave out first where there is little room. nothing: said instead
    of an empty first page. after: where the page begins; None at the beginning.
    """
    if as_json:
        print_json(answer)
        return
    found = cast("Found", answer["usage"])
    if not found:
        say(nothing if after is None else "no more records")
        return
    rows = [[_cell(record.get(name, "")) for name in columns] for record in found]
    print_table(Table(tuple(columns.values()), rows, less=less), wide=wide)
    if (prices := answer.get("prices")) is not None:
        say(f"prices in force: {prices}")
    if (following := answer.get("next")) is not None:
        say(f"there are more records; continue with: --after {following}")


def _cell(value: object) -> str:
    return "unknown" if value is None else str(value)
