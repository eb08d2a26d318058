"""Tests over a table: one test that tries every row, and names each row that fails.

A row of its own costs a test three milliseconds of processor time in a run, most of it to collect, to start and to
report, and again in each worker. Where a row takes less than that, and needs no fixture of its own, the table is one
test. Tables of tests that start or share something stay parametrized.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from itertools import product
from typing import Any

from _pytest.mark.structures import ParameterSet

Rows = Iterable[Any]


def each(
    names: str | Sequence[str], rows: Rows, ids: Iterable[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try every row in one test, as `pytest.mark.parametrize` does in one test for each.

    Decorators on top of each other try every combination. A row is a value, a tuple of values where there are several
    names, or a `pytest.param` with an id. ids: of the rows. The test may use fixtures of its module or session.
    """
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    table = [_named(row, len(wanted)) for row in rows]
    if named := list(ids):
        table = [(name, values) for name, (_, values) in zip(named, table, strict=True)]
    assert table, "a table without a row tests nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        tables = [(wanted, table), *getattr(test, "tables", [])]
        plain = getattr(test, "__wrapped__", test) if hasattr(test, "tables") else test

        @wraps(plain)
        def over_the_table(**fixtures: Any) -> None:
            failed = []
            for combination in product(*(rows for _, rows in tables)):
                values = {
                    name: value
                    for (named, _), (_, row) in zip(tables, combination, strict=True)
                    for name, value in zip(named, row, strict=True)
                }
                try:
                    plain(**fixtures, **values)
                except Exception as error:  # noqa: BLE001  the other rows are to be tried
                    error.add_note(f"in the row {'-'.join(name for name, _ in combination)}")
                    failed.append(error)
            if failed:
                raise ExceptionGroup(f"{len(failed)} rows fail", failed)

        taken = {name for named, _ in tables for name in named}
        inner = signature(plain)
        kept = [one for name, one in inner.parameters.items() if name not in taken]
        over_the_table.__signature__ = inner.replace(parameters=kept)  # type: ignore[attr-defined]
        over_the_table.tables = tables  # type: ignore[attr-defined]
        return over_the_table

    return decorate


def _named(row: Any, length: int) -> tuple[str, tuple[Any, ...]]:
    values = tuple(row.values) if isinstance(row, ParameterSet) else (row,) if length == 1 else tuple(row)
    assert len(values) == length, f"a row of {len(values)} values for {length} names: {row!r}"
    named = isinstance(row, ParameterSet) and isinstance(row.id, str)
    return (str(row.id) if named else "-".join(map(repr, values))), values
