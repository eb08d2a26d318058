"""Small and read-only file systems: in a mount namespace of one process, or in a folder until a block ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import which

from tests.support.places import REPOSITORY

_START = """
import sys, pathlib
from keyledger import embedded_postgres
try:
    with embedded_postgres.start(pathlib.Path(sys.argv[1]), durable=False) as server: print(server.dsn())
except Exception as error: print(type(error).__name__, error)
"""
_MOUNT_FIRST = 'mount -t tmpfs -o "$1" none "$2" && cd "$3" && exec "$4" -c "$5" "$6"'


@cache
def why_no_mounts() -> str:
    """Why this machine does not let a test mount anything; "" if it does."""
    if which("unshare") is None or which("mount") is None:
        return "needs the programs unshare and mount"
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "needs the right to mount"


def said_by_a_start(data_dir: Path, place: Path, options: str) -> str:
    """Start the embedded server of a folder where `place` is a file system of its own, and return what that came to.

    options: of the mount, such as `size=1m`. Other processes do not see it.
    """
    words = [options, str(place), str(REPOSITORY), sys.executable, _START, str(data_dir)]
    command = ["unshare", "--mount", "sh", "-c", _MOUNT_FIRST, "sh", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Make an empty file system in memory in a folder, for every process, until the block ends."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the options of a file system, such as to `ro`."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
