"""The lists of the operator's page are those of the code."""

import ast
import inspect
import re
import sys
import textwrap

from keyledger.assembly.checks.readiness import Readiness
from keyledger.assembly.service.reloading import RESTART_ONLY
from keyledger.doctor import CHECKS
from tests.support.each import each
from tests.support.places import REPOSITORY

PAGE = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_the_settings_that_only_a_restart_changes_are_listed() -> None:
    (listed,) = re.findall(r"\n\n([^\n]*(?:\n[^\n]+)*?) change only with a\s+restart;", section("Reload"))
    assert frozenset(re.findall("`([A-Z_]+)`", listed)) == RESTART_ONLY


def test_every_check_of_readyz_is_listed() -> None:
    code = ast.parse(textwrap.dedent(inspect.getsource(Readiness._checks)))
    (checks,) = [node for node in ast.walk(code) if isinstance(node, ast.Dict) and len(node.keys) > 1]
    names = [key.value for key in checks.keys if isinstance(key, ast.Constant)]
    (listed,) = re.findall("has named checks:(.*?), which gives", section("Health"), re.DOTALL)
    assert sorted(re.findall("`([a-z_]+)`", listed)) == sorted(map(str, names))


ROWS = {
    cells[0].strip(): [cell.strip() for cell in cells[1:]]
    for line in section("When something does not work").splitlines()
    if line.startswith("|") and len(cells := line.strip("|").split("|")) == 3
}


def test_every_item_of_the_doctor_has_a_row_in_its_order() -> None:
    assert list(ROWS)[2:] == [subject for subject, _ in CHECKS]


@each(("subject", "look"), CHECKS, ids=[subject for subject, _ in CHECKS])
def test_a_cell_is_empty_only_where_the_check_never_finds_that(subject: str, look: object) -> None:
    code = ast.walk(ast.parse(inspect.getsource(sys.modules[look.__module__])))
    found = {getattr(node, "id", "") or getattr(node, "attr", "").lower() for node in code}
    for cell, state in zip(ROWS[subject], ("fault", "warning"), strict=True):
        assert (cell != "") == (state in found), f"{subject}: {state}"
