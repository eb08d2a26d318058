"""What a command inherits from whoever started it, made fit before anything else runs.

Promises: a standard stream that was closed is the null device, so that no file or socket opened later takes its number
and receives what was meant for a person; what is not read on a terminal is UTF-8 whatever the locale says, as JSON and
signed notes have to be; on a terminal, characters that it cannot show are escaped and never end the command. A SIGINT
that was ignored, as in a job that a script or `nohup` put in the background, stays without effect here and in every
process started from here: Ctrl-C is then for somebody else, and SIGTERM ends the command.
"""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import Literal

_IN, _OUT, _ERR = 0, 1, 2


def set_up_process() -> None:
    """Make the standard streams and signals of this process fit. Call it once, before threads start and files are opened."""
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
    """Ignoring it would end where a library, the HTTP server first of all, installs a handler of its own."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # a later start of it, with the first process, would lift the block
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
