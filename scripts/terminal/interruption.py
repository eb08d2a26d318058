"""How Ctrl-C and SIGTERM end a command: in the same way, and the command reports the state it leaves.

Promises: work that can stop anywhere ends at once, with exit code REFUSED and one line; work that must finish a step
first is asked to stop, and a second signal ends it at once. The previous handlers are restored.
For the main thread only.
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
    """End the block at once on Ctrl-C or SIGTERM. left: the state it leaves, for the message.

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
    """Set `stop` on the first signal, so that the block can finish its step. A second signal ends it at once."""
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
