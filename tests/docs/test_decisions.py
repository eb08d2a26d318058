"""Every decision has a number, a date and a status, and is in the index."""

import re
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY

FOLDER = REPOSITORY / "docs" / "adr"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))
_HEAD = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
    r"(?P<date>\d{4}-\d\d-\d\d), (?P<status>proposed|accepted|superseded by \d+|rejected)\n\n"
)


def head_of(file: Path) -> re.Match[str]:
    head = _HEAD.match(file.read_text(encoding="utf-8"))
    assert head, f"{file.name} must begin with '# N. Title', a blank line, and 'YYYY-MM-DD, accepted'"
    return head


@pytest.mark.parametrize("file", DECISIONS, ids=lambda file: file.stem)
def test_a_decision_has_a_number_a_date_and_a_status(file: Path) -> None:
    assert f"{int(head_of(file)['number']):04}" == file.name[:4]


def test_the_index_lists_every_decision() -> None:
    rows = [
        f"| {head['number']} | [{head['title']}]({file.name}) | {head['date']} | {head['status']} |"
        for file, head in ((file, head_of(file)) for file in DECISIONS)
    ]
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [line for line in index.splitlines() if re.match(r"\| \d", line)] == rows


def test_numbers_are_used_once() -> None:
    numbers = [file.name[:4] for file in DECISIONS]
    assert len(set(numbers)) == len(numbers)
