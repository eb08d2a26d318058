"""How the interpreter and the C library of a process that serves are set.

Promises: nothing here changes what the process does, only who waits and what memory is given back.
"""

import ctypes
import sys
from contextlib import suppress

_SWITCH_S = 0.0001
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of mallopt(3)
_BLOCK = 60_000  # less than the pieces in which bodies and answers are read and sent
_ARENAS = 2


def be_fair() -> None:
    """Set this process up to serve."""
    take_short_turns()
    give_memory_back()


def take_short_turns() -> None:
    """Let the event loop take the interpreter back from a busy thread fifty times as soon as by default.

    It needs the interpreter again after each wait, and so waits for one such turn several times in each request. The
    usual requests take no more processor time for it, and parsing a long body takes a few hundredths more.
    """
    sys.setswitchinterval(_SWITCH_S)


def give_memory_back() -> None:
    """Have large blocks returned to the system when they are freed, on Linux with glibc.

    By default glibc keeps blocks of up to 32 MiB once such a block was freed, in as many heaps as there are threads, so
    that a process stays as large as it was at its busiest.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _BLOCK)
        mallopt(_M_ARENA_MAX, _ARENAS)
