"""Programs that never outlive the block that runs them."""

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
    """Run a program while the block lasts, which waits for its end. Left by an error, it is killed."""
    with subprocess.Popen(
        command,
        env=programs.environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for us, and we end it
    ) as process:
        try:
            yield process
            process.wait()
        finally:
            process.kill()
