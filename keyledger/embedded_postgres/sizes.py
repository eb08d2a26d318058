"""How much memory and disk the server takes: a share of what the machine has, within bounds.

PostgreSQL's own defaults, 128 MB of buffers and 1 GB of its log between checkpoints, are for any machine. A million
credentials are more than that, and each checkpoint makes the next change of a page cost the whole page.
Promises: a pure function of memory and disk; a small machine keeps most of both for everything else. The memory is what
this process may use, which in a container is its limit.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_MB = 1 << 20
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def sizes_on(folder: Path) -> Mapping[str, str]:
    """Return the settings for a server on this machine whose data is in `folder`."""
    return sizes(memory_of(_LIMITS), shutil.disk_usage(folder).total)


def sizes(memory: int, disk: int) -> Mapping[str, str]:
    """Return the settings for so many bytes of memory and of the file system.

    A quarter of the memory, at most 1 GB, for buffers; a twentieth of the disk, at most 4 GB, between checkpoints.
    """
    buffers = min(max(memory // 4 // _MB, 32), 1024)
    log = min(max(disk // 20 // _MB, 256), 4096)
    return {"shared_buffers": f"{buffers}MB", "max_wal_size": f"{log}MB"}


def memory_of(limits: tuple[Path, ...]) -> int:
    """Return the memory of this machine in bytes, or the lowest limit that one of these files sets."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in limits:
        try:
            found.append(int(file.read_text("ascii")))
        except (OSError, ValueError):  # it is not there, or says "max"
            continue
    return min(found)
