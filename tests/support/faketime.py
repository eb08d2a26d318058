"""Clocks of processes that are wrong, with libfaketime, which Debian has as `faketime`.

Only the wall clock of a process is changed, as it is on a machine whose clock is wrong: time limits and waits run as
always.
"""

from collections.abc import Mapping
from pathlib import Path

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def missing() -> str:
    """Return what the machine lacks, "" if nothing."""
    return "" if LIBRARY else "libfaketime is not installed (apt install faketime)"


def clock_of(said: Path) -> Mapping[str, str]:
    """Return the environment of a process whose clock is as a file says, which may change at any time: see `set_clock`.

    The process looks at the file whenever it looks at its clock.
    """
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(said),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def set_clock(said: Path, seconds: float, rate: float = 1.0) -> None:
    """Write that a clock is ahead by some seconds, or behind; at another rate, from the start of the process on.

    The rate is written always: without one, the library keeps that of before.
    """
    new = said.with_suffix(".new")
    new.write_text(f"{seconds:+.3f} x{rate}\n")
    new.replace(said)
