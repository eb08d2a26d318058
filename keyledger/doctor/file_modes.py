"""Whether other accounts on this machine may read the files with secrets, or write to DATA_DIR."""

import stat
from collections.abc import Iterator
from pathlib import Path

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning
from keyledger.settings.settings import load_secret_files

SUBJECT = "file modes"
_WRITE = stat.S_IWGRP | stat.S_IWOTH


def look(here: Circumstances) -> Iterator[Finding]:
    """Report the existing files and folders that other accounts may use."""
    files = {str(here.dotenv): here.dotenv, **load_secret_files(here.environ, here.dotenv)}
    found = [
        *(finding for name, path in files.items() if (finding := _of_file(name, path)) is not None),
        *_of_folder(here.data_dir),
    ]
    yield from found or [ok(SUBJECT, "no other account can read the files with secrets or write to DATA_DIR")]


def _of_file(name: str, path: Path) -> Finding | None:
    mode = _mode(path)
    if mode is None:
        return None
    shown = path if name == str(path) else f"{path} ({name})"
    if mode & _WRITE:
        return fault(SUBJECT, f"{shown} can be written by other accounts ({mode:04o})", f"chmod 600 {path}")
    if mode & stat.S_IROTH:
        return fault(SUBJECT, f"{shown} can be read by every account ({mode:04o})", f"chmod 600 {path}")
    if mode & stat.S_IRGRP:
        return warning(SUBJECT, f"{shown} can be read by its group ({mode:04o})", f"chmod 600 {path}")
    return None


def _of_folder(folder: Path) -> Iterator[Finding]:
    mode = _mode(folder)
    if mode is not None and mode & _WRITE:
        yield fault(
            SUBJECT, f"{folder} (DATA_DIR) can be written by other accounts ({mode:04o})", f"chmod 700 {folder}"
        )


def _mode(path: Path) -> int | None:
    """Return the permission bits, or None if the file does not exist or cannot be examined."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):
        return None
