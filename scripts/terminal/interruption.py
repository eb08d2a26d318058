"""How Ctrl-C and SIGTERM end a command: both alike, and the command says how it left things.

Promises: work that can be dropped at any moment ends at once, with exit code REFUSED and one line; work that has to
finish a step first is told to stop, and a second signal ends it at once. The handlers of before are put back.
Call these in the main thread.
"""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from scripts.terminal.exits import CommandError, Exit

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(left: str) -> Iterator[None]:
    """Let a signal end the block at once. left: how things are then, for the line on stderr.

    Raises CommandError when a signal ended the block.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError(Exit.REFUSED, f"interrupted; {left}") from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let the first signal set `stop`, so that the block can end its current step. The next one ends it at once."""
    before = {which: signal.getsignal(which) for which in _SIGNALS}

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        _restore(before)

    for which in before:
        signal.signal(which, end)
    try:
        yield
    finally:
        _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for which, handler in handlers.items():
        signal.signal(which, handler)
