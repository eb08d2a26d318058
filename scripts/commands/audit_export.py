"""`audit export`: writes the audit trail of a running service to a file or to stdout.

Promises: memory use does not grow with the trail; a file is written atomically, so an interrupted export leaves none;
an incomplete export to stdout ends with a non-zero exit code. Messages and progress go to stderr.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Annotated, Self
from urllib.parse import urlencode

import typer

from domain.audit.formats import ExportFormat
from scripts.terminal.atomic_file import atomic_file
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import DataOutput, say
from scripts.terminal.progress import QUIET_S
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

if TYPE_CHECKING:  # loaded only on a terminal
    from rich.progress import Progress, TaskID

EVERY_S = 5.0
"""Seconds between lines of progress where there is no terminal."""
_PATH = "/api/v1/audit/export"
_MB = 1_000_000


def export(
    *,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            help="Export only matching entries, such as: action:deleted since:24h",
            show_default=False,
        ),
    ] = None,
    form: Annotated[ExportFormat, typer.Option("--format", help="Format of the records.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.  [default: stdout]", show_default=False)
    ] = None,
    bom: Annotated[
        bool, typer.Option("--bom", help="Start with a byte order mark, so that Excel reads UTF-8 (csv only).")
    ] = False,
    after: Annotated[int, typer.Option("--after", min=0, help="Export only entries after this position.")] = 0,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
) -> None:
    """Export the audit trail, oldest first. The export itself is recorded there."""
    if bom and form is not ExportFormat.CSV:
        raise CommandError(Exit.USAGE, "--bom is for csv only")
    wanted = {
        "format": form.value,
        "bom": "true" if bom else "",
        "q": " ".join(query or ()),
        "after": str(after) if after else "",
    }
    path = f"{_PATH}?{urlencode({name: value for name, value in wanted.items() if value})}"
    # The order matters: an error response must be noticed before anything is written.
    with (
        ServiceClient(url, admin_key(api_key_file)) as service,
        service.stream(path) as pieces,
        _target(output) as file,
        _Count(form) as count,
    ):
        for piece in pieces:
            file.write(piece)
            count.add(piece)
        file.flush()
    say(f"{count.text}{f' in {output}' if output else ''}")


@contextmanager
def _target(output: Path | None) -> Iterator[IO[bytes] | DataOutput]:
    if output is not None:
        with atomic_file(output) as file:
            yield file
        return
    try:
        yield DataOutput()
    except OSError as problem:
        # Otherwise the interpreter reports the error again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CommandError(
            Exit.REFUSED, f"cannot write to stdout: {problem.strerror}; the export is incomplete"
        ) from None


class _Count:
    """Counts records and bytes and shows them as they arrive. Use it as a context manager."""

    def __init__(self, form: ExportFormat) -> None:
        self._lines = -1 if form is ExportFormat.CSV else 0  # the header is not a record
        self._bytes = 0
        self._begun = self._said_at = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is not None:
            say(f"stopped after {self.text}")

    @property
    def text(self) -> str:
        """The count so far, such as `12 records, 3,456 bytes`."""
        size = f"{self._bytes:,} bytes" if self._bytes < _MB else f"{self._bytes / _MB:,.1f} MB"
        return f"{max(self._lines, 0):,} records, {size}"

    def add(self, piece: bytes) -> None:
        """Count a piece of the response."""
        self._lines += piece.count(b"\n")
        self._bytes += len(piece)
        now = time.monotonic()
        if sys.stderr.isatty():
            if now - self._begun >= QUIET_S:
                self._show()
        elif now - self._said_at >= EVERY_S:
            self._said_at = now
            say(self.text)

    def _show(self) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.text, total=None)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, description=self.text)
