"""Small and broken file systems for one process, in a mount namespace of its own; nothing is left of them."""

import subprocess
from functools import cache
from shutil import which


@cache
def why_no_mounts() -> str:
    """Why this machine does not let a test mount anything; "" if it does."""
    if which("unshare") is None or which("mount") is None:
        return "needs the programs unshare and mount"
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "needs the right to mount"
