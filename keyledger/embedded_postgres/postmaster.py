"""Finds the process that is the server of a cluster, and stops that process and no other.

`postmaster.pid` alone proves nothing: after a crash or a container restart its number may belong to any process. So a
process counts as the server only if its command line carries the mark that `server` put there, with this cluster's
path. A zombie has no command line any more and so does not count. The mark is read from the command line because it
is readable in a container whose root may not inspect other users' processes.

That a process cannot be seen proves something only where it would be seen: the server's command line, which the cluster
keeps (`postmaster.opts`), also names the system and the process namespace in which it was started.
"""

import os
import platform
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from domain.errors import StoreUnavailableError

# A setting PostgreSQL accepts from anyone and ignores (it has a dot), and a number no process can have.
_MARK = "keyledger.cluster="
_PLACE = "keyledger.place="
_RECOVERING = "postgres: startup"
_NO_PROCESS = "2147483646"
_SOCKET = ".s.PGSQL.5432"
_SOCKET_LOCK = f"{_SOCKET}.lock"
_ON_LINUX = platform.system() == "Linux"
_REQUESTS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))  # each with the seconds that it may take


def mark(cluster: Path) -> str:
    """The command line argument by which the server of `cluster` is recognised."""
    return f"{_MARK}{cluster}"


def place() -> str:
    """The command line argument that names where a server started by this process can be seen."""
    return f"{_PLACE}{_boot()}:{_namespace()}"


def can_never_serve(cluster: Path) -> bool:
    """Whether the live server neither serves nor recovers nor stops. Only Linux shows it; elsewhere False.

    PostgreSQL 18 gets there when the process that recovers it after a crash ends by a PANIC, as on a disk that fails to
    write through: it rejects every client, waits for ever, and has to be ended. Ask it when a client was rejected.
    """
    number = find(cluster)
    if number is None or not _ON_LINUX:
        return False
    lines = _lines(cluster / "postmaster.pid") or []
    is_stopping = any(line.strip() == "stopping" for line in lines)
    return not is_stopping and not any(_command_line(child).startswith(_RECOVERING) for child in _children_of(number))


def was_started_here(cluster: Path) -> bool:
    """Whether the last server of `cluster` would be seen by this process if it still ran."""
    try:
        return f'"{place()}"' in (cluster / "postmaster.opts").read_text(errors="replace")
    except FileNotFoundError:
        return False


def find(cluster: Path) -> int | None:
    """The process number of the live server of `cluster`."""
    number = _number_in(cluster / "postmaster.pid")
    return number if number > 1 and _serves(number, cluster) else None


def socket_of(folder: Path) -> Path:
    """The socket of a server whose clients look for it in `folder`."""
    return folder / _SOCKET


def disown_stale_lock_files(cluster: Path) -> None:
    """Let a new server start although the number in a lock file belongs to some other live process.

    Only the number is replaced. The rest of `postmaster.pid` stays, because with it PostgreSQL finds out whether
    orphaned backends of a killed server still write to the cluster, and refuses to start while they run. Call it under
    the start lock. Raises StoreUnavailableError if that other process is a server of the same cluster.
    """
    if find(cluster) is not None:
        return
    _require_no_other_server(cluster)
    for lock_file in (cluster / "postmaster.pid", cluster / _SOCKET_LOCK):
        lines = _lines(lock_file)
        if lines and lines[0].strip():
            _overwrite(lock_file, "\n".join([_NO_PROCESS, *lines[1:]]) + "\n")
        elif lines is not None:
            lock_file.unlink()  # cut off while it was written; PostgreSQL would ask a person to remove it


def stop(cluster: Path, *, at_once: bool = False) -> bool:
    """Shut the server down, with a checkpoint unless it has to end at once, and wait until it is gone.

    False if none was running.
    """
    number = find(cluster)
    if number is None:
        return False
    with _handle(number) as handle:
        if not _serves(number, cluster):
            return False
        for request, patience in _REQUESTS[1:] if at_once else _REQUESTS:
            try:
                _signal(number, handle, request)
            except ProcessLookupError:
                return True
            if _gone(number, handle, cluster, patience):
                return True
    raise StoreUnavailableError(f"PostgreSQL (process {number}) does not stop: see {cluster.parent / 'postgres.log'}")


def _require_no_other_server(cluster: Path) -> None:
    number = _number_in(cluster / "postmaster.pid")
    program, _, _ = _command_line(number).partition("\n") if number > 1 else ("", "", "")
    if program.endswith("/postgres") and _works_in(number, cluster):
        raise StoreUnavailableError(
            f"PostgreSQL does not start, because process {number}, a server that KeyLedger did not start, has {cluster}"
            " open: stop that server",
            brief="a server that KeyLedger did not start has the cluster open",
        )


def _works_in(number: int, cluster: Path) -> bool:
    """Whether it is the working directory of a process, as a cluster is that of its server. False if unknown."""
    try:
        return _ON_LINUX and Path(f"/proc/{number}/cwd").readlink() == cluster
    except OSError:
        return False


def _overwrite(lock_file: Path, text: str) -> None:
    """Write in place: on a full disk, a file that was emptied first could not be filled again."""
    with lock_file.open("r+b") as file:
        file.write(text.encode(errors="replace"))
        file.truncate()


def _children_of(number: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            _, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(parent) == number:
                yield int(stat.parent.name)


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id") if _ON_LINUX else ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino) if _ON_LINUX else ""
    except OSError:
        return ""  # a sandbox without namespaces


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _number_in(lock_file: Path) -> int:
    lines = _lines(lock_file)
    return int(lines[0]) if lines and lines[0].isdecimal() else 0


def _lines(lock_file: Path) -> list[str] | None:
    try:
        return lock_file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None


def _serves(number: int, cluster: Path) -> bool:
    program, _, arguments = _command_line(number).partition("\n")
    return program.endswith("/postgres") and f"{mark(cluster)}\n" in arguments


def _command_line(number: int) -> str:
    """The process's arguments, each ended by a newline; empty if there is no such process or it is a zombie."""
    if _ON_LINUX:
        try:
            return os.fsdecode(Path(f"/proc/{number}/cmdline").read_bytes()).replace("\0", "\n")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""
    # One line without boundaries: enough, since the program comes first and the mark last.
    listed = subprocess.run(
        ["/bin/ps", "-ww", "-o", "args=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    return listed.stdout.replace(" -D ", "\n-D ", 1).replace(_MARK, f"\n{_MARK}")


@contextmanager
def _handle(number: int) -> Iterator[int | None]:
    """A descriptor of the process that has `number` now, and not of a later one; None where the system has none."""
    try:
        handle = os.pidfd_open(number) if _ON_LINUX else None
    except OSError:
        handle = None  # a kernel or sandbox without it, or the process is gone
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _signal(number: int, handle: int | None, request: signal.Signals) -> None:
    if handle is not None:
        signal.pidfd_send_signal(handle, request)
    else:
        os.kill(number, request)


def _gone(number: int, handle: int | None, cluster: Path, patience: float) -> bool:
    """Wait for the end of a process. Its descriptor tells the very end: its command line is gone a little earlier."""
    if handle is not None:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        return bool(ended.poll(1000 * patience))
    deadline = time.monotonic() + patience
    while _serves(number, cluster):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
