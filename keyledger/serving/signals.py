"""The effects of SIGTERM and SIGHUP on a process that serves.

Promises: SIGTERM leaves the block that is running, so that what was opened in it is closed. SIGHUP makes the service
reload its settings and never ends it: one that arrives during the start is held back until it can be heard.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def orderly_end() -> Iterator[None]:
    """Make SIGTERM leave the block like an exception, so that what was opened inside is closed."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


@contextmanager
def hangups_held() -> Iterator[None]:
    """Keep SIGHUP back until the block ends, in this thread and in every process that is started meanwhile.

    A process that is still starting would be ended by it: it keeps the signal back until it can hear it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_hangups() -> None:
    """Let SIGHUP through to this process, with one that was held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@contextmanager
def on_hangup(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a new thread at each SIGHUP until the block ends, and once for those that were held back."""

    def begin(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=work, name="hangup", daemon=True).start()

    before = signal.signal(signal.SIGHUP, begin)
    hear_hangups()
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
