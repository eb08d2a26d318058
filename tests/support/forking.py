"""The process that `tests.support.warmed` asks: it loads the modules of the command, and forks for each start.

It ends with its standard input, and a forked process with the connection of the one who asked for it.
"""

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import IO, Any, NoReturn

import scripts.main
from keyledger.serving.garbage_collection import collect_rarely
from tests.support import shifted_clock

_NEEDED = ("keyledger.assembly.compose", "keyledger.serving.bounded_http")
"""Modules that load all that services load at their start."""
_LONGEST = 1 << 20


@dataclass
class _Nursery:
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    asked_by: dict[int, socket.socket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ended, wake = socket.socketpair()
        for end in (self.ended, wake):
            end.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the default would not wake the selector
        signal.set_wakeup_fd(wake.fileno())
        for source in (self.listener, self.ended, sys.stdin):
            self.selector.register(source, selectors.EVENT_READ)

    def serve(self) -> bool:
        """Fork for each who asks. Returns True in a process that was forked, set up, and False at the end."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is sys.stdin:
                    for pid in self.asked_by:
                        os.kill(pid, signal.SIGKILL)
                    return False
                if key.fileobj is self.ended:
                    self._reap()
                elif key.fileobj is not self.listener:
                    self._left(key.data)
                elif self._forked():
                    return True

    def _forked(self) -> bool:
        connection, _ = self.listener.accept()
        text, streams, _, _ = socket.recv_fds(connection, _LONGEST, 3)
        while not text.endswith(b"\n"):
            text += connection.recv(_LONGEST)
        pid = os.fork()
        if not pid:
            self._forget(connection)
            _become(json.loads(text), streams)
            return True
        for stream in streams:
            os.close(stream)
        connection.sendall(f"{pid}\n".encode())
        self.asked_by[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ, pid)
        return False

    def _forget(self, connection: socket.socket) -> None:
        """Give up what only the parent process needs."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        for one in (connection, self.listener, self.ended, self._wake, *self.asked_by.values()):
            one.close()

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self.ended.recv(_LONGEST):
                pass
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                connection = self.asked_by.pop(pid)
                with suppress(KeyError):
                    self.selector.unregister(connection)
                with connection, suppress(BrokenPipeError):
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def _left(self, pid: int) -> None:
        self.selector.unregister(self.asked_by[pid])
        os.kill(pid, signal.SIGKILL)


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """Make this process what a new one would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
    os.chdir(asked["folder"])
    os.umask(asked["mask"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    shifted_clock.shift()
    sys.argv = ["keyledger", *asked["arguments"]]
    sys.modules["__main__"] = scripts.main  # what a process loads first that this one starts


def _stream(number: int, mode: str) -> IO[Any]:
    """Return a new stream: the one there was has found out about its file."""
    return open(number, mode, buffering=1, closefd=False)


def _exit_code_of(program: Callable[[], object]) -> int:
    """Run a program as an interpreter does, and return the exit code of its process."""
    try:
        program()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - an interpreter prints every kind
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as an interpreter does, but leave all objects where they are.

    Taking them apart would copy every page of memory that is shared with the process this one was forked from, which
    takes longer than most commands.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _main() -> None:
    scripts.main.command_line()  # loads every command
    for name in _NEEDED:
        import_module(name)
    collect_rarely()
    gc.collect()
    gc.freeze()
    if _Nursery(socket.socket(fileno=int(sys.argv[1]))).serve():
        _end(_exit_code_of(scripts.main.main))


if __name__ == "__main__":
    _main()
