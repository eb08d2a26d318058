"""CSV as RFC 4180 has it: UTF-8, CRLF, a header row; `details` is one cell of JSON, `erased` names separated by
blanks, absent values are empty cells.

Promises: no cell is a formula to a spreadsheet. A text that one could take for a formula gets an apostrophe in front;
so does a text that begins with an apostrophe, so taking one leading apostrophe off gives back every visible text as it
was. The characters are those of OWASP's "CSV Injection", including full-width variants and ones preceded by invisible
characters. Characters that a reader cannot see or that a terminal obeys are shown as escapes
(`domain.text.visible_text`), in `details` as those of JSON.
"""

import csv
import json

from api.rest.audit.formats.members import NAMES, members
from domain.audit.entries import AuditEntry
from domain.text.visible_text import visible, visible_json

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
_FORMULA = frozenset("=+-@＝＋－＠")
_MARK = "'"


class _Echo:
    """A file for the CSV writer whose `write` returns the text and keeps nothing."""

    def write(self, text: str) -> str:
        return text


_writer = csv.writer(_Echo(), lineterminator="\r\n")


def row(entry: AuditEntry) -> bytes:
    """Return the entry as a row."""
    return _line([_cell(value) for value in members(entry).values()])


def neutral(text: str) -> str:
    """Return a text as a cell that no spreadsheet computes."""
    seen = next((letter for letter in text if letter.isprintable() and not letter.isspace()), "")
    hidden = not text[:1].isprintable()
    return _MARK + text if hidden or seen in _FORMULA or text.startswith(_MARK) else text


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return visible_json(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) if value else ""
    return visible(neutral(" ".join(value) if isinstance(value, list) else str(value)))


def _line(cells: list[str]) -> bytes:
    written: str = _writer.writerow(cells)  # what `_Echo` returned
    return written.encode()


HEADER = _line(list(NAMES))
"""The names of the columns."""
