"""How many processes serve best here.

Promises: never more than the machine, the container and the database allow: one for each core that this process may
use, counting a container's quota, and at most as many as take half of the connections of the database server.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

CONNECTIONS_EACH = 11
"""Connections to the database that one process opens at most."""
MOST = 64
"""Processes of one service."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def cores() -> int:
    """Return how many processes can run at a time; 1 where the system's libraries do not bear to be forked."""
    if sys.platform != "linux":
        return 1
    present = len(os.sched_getaffinity(0))
    return max(1, min(present, MOST, _quota() or present))


def within_connections(workers: int, connections: int) -> int:
    """Return how many of so many workers a database server of so many connections can have, at least 1."""
    return max(1, min(workers, connections // 2 // CONNECTIONS_EACH))


def _quota() -> int | None:
    """Return the cores of the container's quota, rounded up; None without one."""
    with suppress(OSError, ValueError):
        allowed, _, period = _QUOTA.read_text(encoding="ascii").partition(" ")
        return -(-int(allowed) // int(period))
    with suppress(OSError, ValueError):
        allowed_us, period_us = (int(file.read_text(encoding="ascii")) for file in _QUOTA_V1)
        return -(-allowed_us // period_us) if allowed_us > 0 else None
    return None
