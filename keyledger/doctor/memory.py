"""Whether keys in the memory of the service can reach a disk."""

import sys
from collections.abc import Iterator
from pathlib import Path

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, ok
from keyledger.process_memory import may_lock

SUBJECT = "memory"
_SWAPS = Path("/proc/swaps")


def look(here: Circumstances) -> Iterator[Finding]:
    """Report what keeps memory off the disk for a service that is started like this command."""
    if sys.platform == "win32":
        yield ok(SUBJECT, "this system decides on dumps and swapping")
    elif may_lock():
        yield ok(SUBJECT, "there are no core dumps, and memory is locked, so it is not swapped out")
    else:
        swap = "this machine has swap" if _has_swap() else "this machine shows no swap"
        yield ok(SUBJECT, f"there are no core dumps; memory is not locked, because its limit is not unlimited; {swap}")


def _has_swap() -> bool:
    try:
        return len(_SWAPS.read_text(encoding="ascii", errors="replace").splitlines()) > 1
    except OSError:
        return False
