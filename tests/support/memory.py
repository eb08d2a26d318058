"""A folder in memory for the databases of a run: copying a template there takes half the time of a disk.

Where the system has none with enough room, there is no such folder. One that a killed run left is removed by the next.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

FOLDER = "KEYLEDGER_TEST_MEMORY"
"""The environment variable that names the folder to the workers of a run."""
_MEMORY = Path("/dev/shm")
_PREFIX = "keyledger-tests-"
_ROOM = 2 << 30


def take() -> Path | None:
    """Make the folder and name it in the environment. None where there is none, or where another process made it."""
    if FOLDER in os.environ or not os.access(_MEMORY, os.W_OK):
        return None
    _remove_of_ended_runs()
    if shutil.disk_usage(_MEMORY).free < _ROOM:
        return None
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY))
    os.environ[FOLDER] = str(folder)
    return folder


def give_back(folder: Path) -> None:
    """Remove the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    del os.environ[FOLDER]


def _remove_of_ended_runs() -> None:
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        pid, _, _ = folder.name.removeprefix(_PREFIX).partition("-")
        with suppress(FileNotFoundError):  # another run has just removed it
            if folder.stat().st_uid == os.geteuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)
