"""Code that Python runs before every program of this environment."""

import os
from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, ok, warning
from keyledger.startup_code import foreign_modules, foreign_path_files

SUBJECT = "start-up code"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report code that no installed package brought."""
    found = [*foreign_modules(), *foreign_path_files()]
    for file in found:
        said = f"{file} runs at the start of every Python process here, and can read the keys in its environment"
        yield warning(SUBJECT, said, f"ls -l {file}")
    if not found:
        below = " (PYTHONPATH is set)" if os.environ.get("PYTHONPATH") else ""
        yield ok(SUBJECT, f"nothing but installed packages runs before the program{below}")
