"""`audit export`: writes the audit trail of a running service to a file or to stdout.

Promises: memory use does not grow with the trail; a file is written atomically, so an interrupted export leaves none;
an incomplete export to stdout ends with a non-zero exit code. The service sends it in parts, so progress shows how far
the log was looked through, an outage in between is waited for, and Ctrl-C leaves no work behind. Messages and progress
go to stderr.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, NamedTuple
from urllib.parse import parse_qs, urlencode

import typer

from domain.audit.formats import ExportFormat
from scripts.terminal.atomic_file import atomic_file
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import DataOutput, say
from scripts.terminal.progress import ProgressDisplay
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

TRIES, PAUSE_S = 10, 2.0
"""How often a part is asked for that did not arrive, and seconds in between."""
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
        "part_of": "0",
    }
    count = _Count(form, after)
    with ServiceClient(url, admin_key(api_key_file)) as service:
        parts = _parts(service, urlencode({name: value for name, value in wanted.items() if value}))
        first = next(parts)  # an error response must be noticed before anything is written
        with _target(output) as file, ProgressDisplay() as display, _interrupted(count):
            for part in chain([first], parts):
                file.write(part.records)
                count.add(part)
                if part.end:
                    display.update("exporting", part.position - after, part.end - after, found=count.text)
            file.flush()
    say(f"{count.text}{f' in {output}' if output else ''}")


class _Part(NamedTuple):
    """One part. position: up to which the log was looked through. end: of the export; 0 in its last part."""

    records: bytes
    position: int
    end: int


def _parts(service: ServiceClient, query: str) -> Iterator[_Part]:
    """Yield the parts of an export. One that is lost on the way is asked for again, but for the first."""
    following: str | None = query
    tries = 1
    while following is not None:
        records, following = _part(service, following, tries)
        cursor = parse_qs(following or "")
        yield _Part(records, int(cursor.get("after", ["0"])[0]), int(cursor.get("part_of", ["0"])[0]))
        tries = TRIES


def _part(service: ServiceClient, query: str, tries: int) -> tuple[bytes, str | None]:
    while True:
        tries -= 1
        try:
            return service.part(f"{_PATH}?{query}")
        except CommandError as error:
            if error.code != Exit.UNREACHABLE or tries < 1:
                raise
        time.sleep(PAUSE_S)


@contextmanager
def _interrupted(count: "_Count") -> Iterator[None]:
    """Say how far an export came that ended before its end, by an error or by Ctrl-C."""
    try:
        yield
    except BaseException:
        say(f"stopped after {count.text}; entries after position {count.position} are missing")
        raise


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
    """Counts records and bytes. position: up to which the log was looked through."""

    def __init__(self, form: ExportFormat, after: int) -> None:
        self._lines = -1 if form is ExportFormat.CSV else 0  # the header is not a record
        self._bytes = 0
        self.position = after

    @property
    def text(self) -> str:
        """The count so far, such as `12 records, 3,456 bytes`."""
        size = f"{self._bytes:,} bytes" if self._bytes < _MB else f"{self._bytes / _MB:,.1f} MB"
        return f"{max(self._lines, 0):,} records, {size}"

    def add(self, part: _Part) -> None:
        """Count a part that was written."""
        self._lines += part.records.count(b"\n")
        self._bytes += len(part.records)
        self.position = part.position
