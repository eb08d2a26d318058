"""Keeps the secrets in this process's memory away from other processes and from the disk, as far as the system allows.

Promises: a process that called `protect` leaves no core dump, and on Linux no other process of its account can read its
memory, its environment or its open files in `/proc`, or trace it; only root still can. If it may lock memory without
limit, no page that it uses from then on is swapped out. The values of variables that were overwritten are no longer in
the memory that the kernel shows as the environment of the process. Where a system lacks one of these, the process runs
without it. An ordinary account may lock only a few MiB, less than a service needs, so its memory is not locked at all.
Not inherited: a new program starts readable, so each process calls `protect` itself. The limit on core dumps is
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
_PRESENT, _FUTURE, _WHEN_USED = 1, 2, 4
"""MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT. Without the last, the whole stack of every thread would be locked."""


def protect() -> None:
    """Keep this process from being dumped and, on Linux, from being read by others and from being swapped out."""
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if may_lock():
            library.mlockall(_PRESENT | _FUTURE | _WHEN_USED)


def may_lock() -> bool:
    """Return whether a process started here may lock memory without limit. It has to be Linux."""
    if sys.platform != "linux":
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY


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
