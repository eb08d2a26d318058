"""The progress of a long command, on stderr: a bar on a terminal, a line from time to time elsewhere.

Promises: nothing is shown in the first `QUIET_S` seconds, so quick work stays silent; then a line at the start of each
step, after each twentieth of it, and at least every `EVERY_S` seconds of updates. stdout is not touched.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from domain.text.visible_text import visible
from scripts.terminal.output import say

if TYPE_CHECKING:  # loaded only on a terminal
    from rich.progress import Progress, TaskID

QUIET_S = 2.0
EVERY_S = 5.0
_PARTS = 20

Clock = Callable[[], float]
"""Returns seconds that never decrease."""


class ProgressDisplay:
    """Shows the steps of one command. Use it as a context manager around the work."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """clock: replaced in tests."""
        self._clock = clock
        self._entered = clock()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._step = ""
        self._begun = self._said_at = 0.0
        self._said_part = 0

    def __enter__(self) -> Self:
        """Return this display."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: str, done: int, total: int, failed: int = 0, found: str = "") -> None:
        """Show that `done` of `total` items of `step` are finished, `failed` of them with an error.

        total: 0 where it is not known. found: shown in place of the failures.
        """
        now = self._clock()
        if step != self._step:
            self._step, self._begun, self._said_part, self._task = step, now, -1, None
        if now - self._entered < QUIET_S:
            return
        seconds = now - self._begun
        rate = done / seconds if done and seconds else 0.0
        note = f"{found or f'{failed:,} failed'}, {rate:,.0f}/s"
        if sys.stderr.isatty():
            self._show(done, total, note)
        elif self._is_due(done, total, now):
            left = f", about {max(0, total - done) / rate:,.0f} s left" if rate and total else ""
            say(f"{step}: {done:,}{f' of {total:,}' if total else ''}, {note}{left}")

    def _show(self, done: int, total: int, note: str) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if self._task is None:
            self._task = self._bar.add_task(visible(self._step), total=total or None, note="")
        self._bar.update(self._task, completed=done, total=total or None, note=note)

    def _is_due(self, done: int, total: int, now: float) -> bool:
        part = _PARTS * done // total if total else 0
        if part == self._said_part and now - self._said_at < EVERY_S:
            return False
        self._said_part, self._said_at = part, now
        return True


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
