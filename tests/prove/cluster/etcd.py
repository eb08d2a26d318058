"""One etcd on loopback, in which the nodes of a cluster agree who is the primary.

Promises: it runs while the block lasts and keeps everything in its folder. It is not part of what is tried, so it is
never disturbed.
"""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

MISSING = "etcd is not installed (apt-get install etcd-server)"
_PATIENCE_S = 30


def missing() -> str:
    """Return what the machine lacks, "" if nothing."""
    return "" if shutil.which("etcd") else MISSING


@contextmanager
def etcd(folder: Path) -> Iterator[str]:
    """Run it; gives its address as `host:port`."""
    clients, peers = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("etcd", "--name", "one", "--data-dir", str(folder / "data")),
                *("--listen-client-urls", f"http://{clients}", "--advertise-client-urls", f"http://{clients}"),
                *("--listen-peer-urls", f"http://{peers}", "--initial-advertise-peer-urls", f"http://{peers}"),
                *("--initial-cluster", f"one=http://{peers}"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(f"http://{clients}/health", process, folder / "log")
        yield clients
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"etcd did not start: {log.read_text()[-2000:]}")
