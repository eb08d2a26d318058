"""Gives memory back to the system after a busy time, on Linux with glibc.

glibc returns large blocks when they are freed, and keeps small ones for the next allocation: 250 callers who took 20 MB
each and read nothing left a process 20 to 50 MB larger each time. Promises: at most `KEPT_MB` more than at the quietest
time stay with the process for longer than a few seconds. A look takes about a millisecond, in a thread.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import NamedTuple

from keyledger.log.periodic_task import PeriodicTask

KEPT_MB = 16
TICK_S = 2.0
_NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo2(ctypes.Structure):
    """The result of mallinfo2(3); fordblks: bytes of free blocks."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _NAMES.split())


class Allocator(NamedTuple):
    """free: returns the bytes of free blocks, given back or not. trim: gives their memory back."""

    free: Callable[[], int]
    trim: Callable[[], object]


def glibc() -> Allocator | None:
    """Return the allocator of this process; None where it is another one, or a glibc before 2.33."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    try:
        mallinfo2, malloc_trim = library.mallinfo2, library.malloc_trim
    except AttributeError:
        return None
    mallinfo2.restype = _Mallinfo2
    return Allocator(lambda: int(mallinfo2().fordblks), lambda: malloc_trim(0))


class FreedMemory:
    """Watches the free blocks. A part of the service."""

    def __init__(self, allocator: Allocator | None = None) -> None:
        """allocator: by default that of this process, if it is known."""
        self._allocator = allocator or glibc()
        self._least: int | None = None
        self._task = PeriodicTask(self.look, TICK_S, "freed memory", pause_first=True)

    async def start(self) -> None:
        """Begin to look."""
        if self._allocator is not None:
            self._task.start()

    async def stop(self) -> None:
        """Stop looking."""
        await self._task.stop()

    def look(self) -> None:
        """Give memory back if much was freed since there was least of it free.

        Blocks that were given back count as free until they are used, and only use lowers the least.
        """
        if self._allocator is None:
            return
        free = self._allocator.free()
        self._least = free if self._least is None else min(self._least, free)
        if free - self._least > KEPT_MB << 20:
            self._allocator.trim()
            self._least = free
