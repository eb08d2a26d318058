"""Whether other accounts on this machine may use the files with secrets, or write to DATA_DIR."""

import stat
from collections.abc import Iterator
from pathlib import Path

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning
from keyledger.settings.file_modes import exposed_files

SUBJECT = "file modes"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report the existing files and folders that other accounts may use."""
    found = [
        *(
            (fault if one.serious else warning)(SUBJECT, one.said, one.remedy)
            for one in exposed_files(here.environ, here.dotenv)
        ),
        *_of_folder(here.data_dir),
    ]
    yield from found or [ok(SUBJECT, "no other account can read the files with secrets or write to DATA_DIR")]


def _of_folder(folder: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except (OSError, ValueError):
        return
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield fault(
            SUBJECT, f"{folder} (DATA_DIR) can be written by other accounts ({mode:04o})", f"chmod 700 {folder}"
        )
