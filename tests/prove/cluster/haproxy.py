"""HAProxy in front of a cluster, as docs/operations.md configures it: it asks Patroni which node is the primary."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.prove.cluster.cluster import Cluster, shown_in_operations
from tests.prove.cluster.node import OWNER
from tests.support import pooler
from tests.support.ports import free_port

MISSING = "HAProxy is not installed (apt-get install haproxy)"


def missing() -> str:
    """Return what the machine lacks, "" if nothing."""
    return "" if _program() else MISSING


def _program() -> str | None:
    return shutil.which("haproxy", path=pooler.SEARCHED)


@contextmanager
def haproxy(made: Cluster, folder: Path) -> Iterator[str]:
    """Run it while the block lasts; gives the database address through it."""
    program = _program()
    assert program is not None
    port = free_port()
    shown = shown_in_operations("haproxy").replace("127.0.0.1:5000", f"127.0.0.1:{port}")
    for number, node in enumerate(made.nodes, 1):
        line = f"10.0.0.{number}:5432 check port 8008"
        assert line in shown
        shown = shown.replace(line, f"127.0.0.1:{node.port} check port {node.rest}")
    file = folder / "haproxy.cfg"
    file.write_text(shown, encoding="utf-8")
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"postgresql://{OWNER}@127.0.0.1:{port}/keyledger"
        pooler.wait_for(url)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
