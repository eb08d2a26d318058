"""The command as a process of its own, for what outlives a call: serving, signals, the end."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.neutral import hearing_ctrl_c, inheritable
from tests.support.places import REPOSITORY

PATIENCE_S = 90

_AS_IT_IS = ("-m", "scripts.main")
_TALKATIVE = (
    "-c",
    "import scripts.terminal.progress; scripts.terminal.progress.QUIET_S = 0; from scripts.main import main; main()",
)


class Process:
    """A running command. `said` and `told` hold the lines of stdout and stderr so far.

    started_by: a line of shell to run first in the same process, such as `umask 0`.
    """

    def __init__(
        self, folder: Path, arguments: tuple[str, ...], env: Mapping[str, str], started_by: str | None = None
    ) -> None:
        command = [sys.executable, *arguments]
        with hearing_ctrl_c():
            self.popen = subprocess.Popen(
                command if started_by is None else ["/bin/sh", "-c", f'{started_by}; exec "$0" "$@"', *command],
                cwd=folder,
                env={**inheritable(), "PYTHONPATH": str(REPOSITORY), **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        self.said: list[str] = []
        self.told: list[str] = []
        self._news = threading.Condition()
        self._readers = [self._read(self.popen.stdout, self.said), self._read(self.popen.stderr, self.told)]

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

    def _read(self, stream: IO[str] | None, lines: list[str]) -> threading.Thread:
        assert stream is not None

        def read() -> None:
            with stream:
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
) -> Iterator[Process]:
    """Run a command as a process while the block lasts, and kill it if it has not ended by then.

    talkative: report progress at once.
    """
    process = Process(folder, (*(_TALKATIVE if talkative else _AS_IT_IS), *arguments), env or {}, started_by)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.end()
