"""The command as a process of its own, for what outlives a call: serving, signals, the end."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import warmed
from tests.support.neutral import hearing_ctrl_c, inheritable
from tests.support.places import REPOSITORY
from tests.support.warmed import Warmed

PATIENCE_S = 90

_AS_IT_IS = ("-m", "scripts.main")
_TALKATIVE = (
    "-c",
    "import scripts.terminal.progress; scripts.terminal.progress.QUIET_S = 0; from scripts.main import main; main()",
)


class Process:
    """A running command. `said` and `told` hold the lines of stdout and stderr so far."""

    def __init__(self, start: Callable[[tuple[int, int, int]], "subprocess.Popen[bytes] | Warmed"]) -> None:
        """start: starts the command, given the descriptors of its standard streams."""
        (said, out), (told, err) = os.pipe(), os.pipe()
        with os.fdopen(out, "wb"), os.fdopen(err, "wb"), Path(os.devnull).open("rb") as null:
            self.popen = start((null.fileno(), out, err))
        self.said: list[str] = []
        self.told: list[str] = []
        self._news = threading.Condition()
        self._readers = [self._read(said, self.said), self._read(told, self.told)]

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Wait for as many lines that match, on either stream, and return the first group of the first."""
        found: list[str] = []

        def seen() -> bool:
            matches = (re.search(pattern, line) for line in self.said + self.told)
            found[:] = [match.group(1) for match in matches if match]
            return len(found) >= times or not any(reader.is_alive() for reader in self._readers)

        with self._news:
            assert self._news.wait_for(seen, PATIENCE_S), f"nothing fits {pattern}: {self.said} {self.told}"
        assert len(found) >= times, f"it ended before: {self.said} {self.told}"
        return found[0]

    def end(self) -> int:
        """Wait until it ends and return its exit code."""
        code = self.popen.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def terminate(self) -> int:
        """Ask it to end and return its exit code."""
        self.popen.terminate()
        return self.end()

    def _read(self, descriptor: int, lines: list[str]) -> threading.Thread:
        def read() -> None:
            with os.fdopen(descriptor, encoding="utf-8") as stream:
                for line in stream:
                    with self._news:
                        lines.append(line)
                        self._news.notify_all()
            with self._news:
                self._news.notify_all()

        thread = threading.Thread(target=read)
        thread.start()
        return thread


@contextmanager
def running(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    started_by: str | None = None,
    talkative: bool = False,
    warm: bool = False,
) -> Iterator[Process]:
    """Run a command as a process while the block lasts, and kill it if it has not ended by then.

    started_by: a line of shell to run first in the same process, such as `umask 0`. talkative: report progress at once.
    warm: fork it from a process that has loaded its modules (`tests.support.warmed`), where its start is not tested.
    """
    whole = {**inheritable(), "PYTHONPATH": str(REPOSITORY), **(env or {})}
    command = [sys.executable, *(_TALKATIVE if talkative else _AS_IT_IS), *arguments]
    if started_by is not None:
        command = ["/bin/sh", "-c", f'{started_by}; exec "$0" "$@"', *command]

    def start(streams: tuple[int, int, int]) -> "subprocess.Popen[bytes] | Warmed":
        if warm:
            return Warmed(warmed.address(), arguments, folder, whole, streams)
        stdin, stdout, stderr = streams
        with hearing_ctrl_c():
            return subprocess.Popen(command, cwd=folder, env=whole, stdin=stdin, stdout=stdout, stderr=stderr)

    process = Process(start)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.end()
