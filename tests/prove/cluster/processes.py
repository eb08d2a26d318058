"""Processes that we did not start ourselves, found in `/proc` and reached by signals."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def children_of(parent: int) -> list[int]:
    """Return the process ids of the children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            after_name = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
