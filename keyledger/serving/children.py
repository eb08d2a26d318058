"""Processes that were forked to serve: how they begin, say that they serve, and end.

Promises: a forked process has no signal handler of its parent, does not return into what its parent was doing, and
hears a signal that arrives meanwhile once it can. Processes that it did not fork, such as orphans in a container, are
reaped too.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

_HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)
_LINE = 64


@dataclass(slots=True)
class Child:
    """A process. ready: descriptor that says when it serves; None once it has. said: its line then, a number."""

    pid: int
    slot: int
    early: bool
    began: float
    ready: int | None
    said: int = 0
    retires: bool = False

    def look(self) -> None:
        """Read whether it serves by now. Does not wait."""
        if self.ready is None:
            return
        with suppress(BlockingIOError):
            if line := os.read(self.ready, _LINE):
                self.said = int(line)
                self.forget()

    def forget(self) -> None:
        """Close the descriptor."""
        if self.ready is not None:
            os.close(self.ready)
            self.ready = None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. It was not reaped yet, so its id belongs to no other process."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def fork(serve: Callable[[int], None], ending: Callable[[Exception], int]) -> tuple[int, int]:
    """Run `serve` in a new process, and return its id and the descriptor that says when it serves.

    serve: gets the descriptor that it writes to. ending: says why an exception ends it, and returns its exit code.
    Raises OSError where the system cannot fork now.
    """
    ready, started = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for end in (ready, started):
            os.close(end)
        raise
    if not pid:
        _live(lambda: serve(started), ending)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(started)
    os.set_blocking(ready, False)
    return pid, ready


def reaped() -> Iterator[tuple[int, int]]:
    """Yield the id and the exit code of each process that has ended; the code of one that a signal ended is below 0."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _live(serve: Callable[[], None], ending: Callable[[Exception], int]) -> NoReturn:
    """Be the new process, until its end. The objects of the parent are left as they are: they are not its own."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it for all
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except Exception as error:  # noqa: BLE001  it becomes a line and an exit code
        code = ending(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
