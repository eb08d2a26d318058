"""Sets up the memory, the standard streams and the signals of a command's process, before anything else runs.

Promises: secrets leave the environment, for the process itself, for what it starts and for readers of `/proc`, and
memory is protected (`process_memory`); a closed standard stream becomes the null device, so that no file or socket
opened later gets its descriptor and receives the command's output; output to anything but a terminal is UTF-8 in every
locale, as JSON and signed notes must be; characters that a terminal cannot show are escaped and never end the command.
Where SIGINT was ignored, as in a background job started by a script or `nohup`, it stays ignored here and in every
child process, because Ctrl-C is then meant for another process; SIGTERM still ends the command. Cyclic garbage is
collected rarely from here on.
"""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import Literal

from keyledger.process_memory import protect
from keyledger.serving.garbage_collection import collect_rarely
from keyledger.settings.start_environment import OF_THIS_PROCESS

_IN, _OUT, _ERR = 0, 1, 2


def set_up_process() -> None:
    """Set up this process. Call it once, before any thread is started or file opened."""
    protect()
    OF_THIS_PROCESS.take()
    collect_rarely()
    for number in (_IN, _OUT, _ERR):
        _open_if_closed(number)
    sys.stdin = sys.stdin or _stream(_IN, "r")
    sys.stdout = sys.stdout or _stream(_OUT, "w")
    sys.stderr = sys.stderr or _stream(_ERR, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        _block_for_good(signal.SIGINT)


def _block_for_good(number: signal.Signals) -> None:
    """Block the signal rather than ignore it: the HTTP server installs a handler of its own."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # started later, with the first child process, it would lift the block
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        with suppress(OSError):
            os.set_inheritable(number, True)


def _stream(number: int, mode: Literal["r", "w"]) -> io.TextIOWrapper:
    return open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
