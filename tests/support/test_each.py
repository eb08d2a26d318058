"""A table that is one test says which rows fail, and fails when any does."""

import pytest

from tests.support.each import each


@each("known", [pytest.param(1, id="one"), 2])
@each(("left", "right"), [("a", "b"), ("c", "d")])
def shown(known: int, left: str, right: str) -> None:
    assert (known, left, right) in {(1, "a", "b"), (2, "c", "d")}


def test_every_combination_is_tried_and_each_that_fails_is_named() -> None:
    with pytest.raises(ExceptionGroup, match="2 rows fail") as failed:
        shown()
    assert [error.__notes__ for error in failed.value.exceptions] == [
        ["in the row one-'c'-'d'"],
        ["in the row 2-'a'-'b'"],
    ]


@pytest.mark.parametrize("rows", [[], [("a",)], [("a", "b", "c")]], ids=["no row", "too short", "too long"])
def test_a_table_that_does_not_fit_is_refused(rows: list[tuple[str, ...]]) -> None:
    with pytest.raises(AssertionError):
        each("left, right", rows)


@each("size", range(3))
def test_a_table_may_use_fixtures(size: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert tmp_path_factory.mktemp(f"folder-{size}").exists()
