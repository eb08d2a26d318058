"""Runs programs that never outlive the block that runs them."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from keyledger.backup.programs import Programs


@contextmanager
def running(
    command: Sequence[str],
    programs: Programs,
    *,
    stdin: int,
    stdout: int,
    stderr: int = subprocess.DEVNULL,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program, and wait for its end when the block ends. When the block raises, the program is killed."""
    with subprocess.Popen(
        command,
        env=programs.environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the program
    ) as process:
        try:
            yield process
            process.wait()
        finally:
            process.kill()
