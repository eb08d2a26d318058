"""The command in a process that has loaded its modules before it starts: a fork of one that loads them once.

A start takes a second of processor time, nearly all of it to load modules, and the suite makes a hundred starts. The
forked process has arguments, an environment, a folder, standard streams and a file mode mask of its own, as a new one
has, and ends as one does. What an interpreter does at its start, what loads when, and what `/proc/PID/environ` shows
are to be tried on new processes instead.

This file is also the program by which a shell starts such a process. It then runs without any package.
"""

import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_TERMINATED_BY = 128
"""Added to the number of a signal, as shells tell that a process ended by it."""


class Warmed:
    """One running command.

    env: all of its environment. streams: descriptors of its standard streams.
    """

    def __init__(
        self, address: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str], streams: Sequence[int]
    ) -> None:
        mask = os.umask(0)
        os.umask(mask)
        asked = {"arguments": list(arguments), "folder": str(folder), "env": dict(env), "mask": mask}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        socket.send_fds(self._connection, [json.dumps(asked).encode() + b"\n"], streams)
        self._told = self._connection.makefile("r")
        self._code: int | None = None
        self.pid = int(self._told.readline())

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return what `wait` returns once it has ended, None until then."""
        if self._code is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, or the number of the signal that ended it, made negative."""
        if self._code is None:
            self._connection.settimeout(timeout)
            with self._connection, self._told:
                self._code = int(self._told.readline())
        return self._code


_forking: "list[subprocess.Popen[bytes]]" = []


@cache
def address() -> str:
    """Start the process that others are forked from, at the first call, and return where to ask it."""
    place = str(Path(tempfile.mkdtemp(prefix="keyledger-warm-")) / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        command = [sys.executable, "-m", "tests.support.forking", str(listener.fileno())]
        repository, inherited = Path(__file__).parents[2], listener.fileno()
        _forking.append(subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, pass_fds=[inherited]))
    return place


def end() -> None:
    """End that process, if it was started."""
    while _forking:
        _forking.pop().communicate(timeout=60)  # it ends with its standard input
        shutil.rmtree(Path(address()).parent)


def command_in(folder: Path) -> None:
    """Write the program `keyledger` into a folder."""
    program = folder / "keyledger"
    program.write_text(
        f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", __file__, address()])} "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)


def _run(place: str, *arguments: str) -> int:
    """Run the command in place of this process."""
    command = Warmed(place, arguments, Path.cwd(), os.environ, (0, 1, 2))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda which, _: command.send_signal(which))
    code = command.wait()
    return code if code >= 0 else _TERMINATED_BY - code


if __name__ == "__main__":
    sys.exit(_run(*sys.argv[1:]))
