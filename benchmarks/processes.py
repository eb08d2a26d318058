"""Servers as processes: started, waited for until they answer, measured, stopped.

Promises: what was started is stopped and waited for, whatever happens; it listens on loopback only; what it printed is
in a file alongside its data and its end is shown when it does not start.
"""

import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.frame import UnusableError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

_PATIENCE_S = 120
_STOP_S = 30


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. start_seconds: from the start of its process to its first good answer."""

    port: int
    pid: int
    start_seconds: float

    @property
    def memory_mb(self) -> float:
        """Resident memory of the process and those it started, in MB; without a database server's."""
        return sum(_resident_mb(pid) for pid in _family(self.pid))

    @property
    def processor_seconds(self) -> float:
        """Processor time of the process and those it started, without a database server's."""
        return sum(_processor_seconds(pid) for pid in _family(self.pid))

    @property
    def private_mb(self) -> list[float]:
        """Memory of each process that it started, in MB, without what they share; without a database server's."""
        return [_private_mb(pid) for pid in _family(self.pid)[1:]]


@contextmanager
def listening(serve: Callable[["Pipe"], None]) -> Iterator[int]:
    """Run a function in a process of its own until the block ends; yields the port, which it sends once it listens."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(there,), daemon=True)
    process.start()
    there.close()
    try:
        port: int = here.recv()
        yield port
    finally:
        process.terminate()
        process.join()


def free_port() -> int:
    """Return a port that no one listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def server(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    port: int,
    ready: str,
    *,
    any_status: bool = False,
) -> Iterator[Running]:
    """Run a server while the block lasts, from when GET `ready` is answered with 200. Raises UnusableError.

    any_status: any answer will do.
    """
    said = folder / f"{Path(command[0]).name}-{port}.log"
    started = time.perf_counter()
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, env=_environment(environment), cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        while not _answers(port, ready, any_status=any_status):
            if process.poll() is not None or time.perf_counter() - started > _PATIENCE_S:
                end = " ".join(said.read_text(errors="replace")[-500:].split())
                raise UnusableError(f"{Path(command[0]).name} did not start: {end}")
            time.sleep(0.02)
        yield Running(port, process.pid, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def request(port: int, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> bytes:
    """Send one request and return the body of the answer. Raises UnusableError for any status but 2xx."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read()
    except OSError as problem:
        raise UnusableError(f"{method} {path}: {problem}") from None
    finally:
        connection.close()
    if answer.status // 100 != 2:
        raise UnusableError(f"{method} {path} was answered with {answer.status}: {text[:300].decode(errors='replace')}")
    return text


def _answers(port: int, path: str, *, any_status: bool) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200 or any_status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | dict(own)


def _family(pid: int) -> list[int]:
    """Return a process and its descendants, but no PostgreSQL."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return []
    if name.startswith("postgres"):
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _processor_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _private_mb(pid: int) -> float:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
    return 0.0


def _resident_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0
