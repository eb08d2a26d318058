"""Keeps the secrets in this process's memory away from other processes and from the disk, as far as the system allows.

Promises: a process that called `forbid_dumps` leaves no core dump, and on Linux no other process of its account can
read its memory, its environment or its open files in `/proc`, or trace it; only root still can. The values of variables
that were overwritten are no longer in the memory that the kernel shows as the environment of the process. Where a
system lacks one of these, the process runs without it.
Not inherited: a new program starts readable, so each process calls `forbid_dumps` itself. The limit on core dumps is
inherited, also by the embedded PostgreSQL.
"""

import ctypes
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import count, takewhile
from typing import Any

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Make this process leave no core dump and, on Linux, unreadable to other processes of its account."""
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def overwrite_variables(names: Collection[str]) -> None:
    """Overwrite the values of environment variables where they are in memory. Call it before they are removed.

    Removing a variable only removes the pointer to it: the kernel shows the memory in which the process received its
    environment to every reader of `/proc/PID/environ`, for as long as the process lives.
    """
    wanted = {os.fsencode(name) for name in names}
    for address in _variables():
        name, _, value = ctypes.string_at(address).partition(b"=")
        if name in wanted:
            ctypes.memset(address + len(name) + 1, 0, len(value))


def _variables() -> Iterator[int]:
    """Yield the addresses of the environment's variables, where the C library shows them."""
    with suppress(OSError, TypeError, ValueError):  # no library, no such symbol in it, no environment
        pointers: Any = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
        yield from takewhile(bool, map(pointers.__getitem__, count()))
