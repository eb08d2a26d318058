"""Makes a dump, and reads one.

The dump is made from an exported snapshot in which the log was counted, so both are of the same moment while services
keep writing. Reading goes through the whole dump, as a restore would, and trusts nothing but PostgreSQL's pg_restore.
The list of running nodes and the unfinished copies of projections are not part of a backup.
"""

import re
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from keyledger.backup.children import running
from keyledger.backup.errors import BackupError
from keyledger.backup.programs import Programs
from projections.database.connections import EVENTS_TABLE, SNAPSHOT, connect, unavailable

LOOK_S = 0.2
_NOT_KEPT = ("--exclude-table-data=nodes", "--exclude-table=*_shadow")
_COPY = re.compile(rb'COPY (?:"?\w+"?\.)?"?(\w+)"? \(([^)]*)\) FROM stdin;')
_END = b"\\.\n"

Told = Callable[[str, int, int], None]
"""Called with (step, done, total) as the work proceeds; total is 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class LogEnd:
    """How many events a log has, and the position of the last, 0 where there is none."""

    events: int
    position: int


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a dump. schema: the version of its tables."""

    end: LogEnd
    schema: int


def back_up(dsn: str, programs: Programs, file: Path, told: Told) -> LogEnd:
    """Write a dump of the database into a file, read it back, and return the end of its log.

    Raises BackupError, StoreUnavailableError, and what `told` raises.
    """
    with connect(dsn) as connection, unavailable(), connection.transaction():
        connection.execute(SNAPSHOT)
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        row = connection.execute(
            "SELECT pg_export_snapshot() AS snapshot, count(*) AS events,"
            " coalesce(max(notification_id), 0) AS position FROM keyledger_events"
        ).fetchone()
        if row is None:
            raise BackupError("the log cannot be counted")
        end = LogEnd(row["events"], row["position"])
        _dump(programs, row["snapshot"], file, told)
    with file.open("rb") as written:
        held = read_dump(programs, written, lambda step, done, total: told("reading back", done, end.events)).end
    if held != end:
        raise BackupError(
            f"the dump holds {held.events} events up to position {held.position}, the log had {end.events} up to"
            f" {end.position}; nothing was written"
        )
    return end


def _dump(programs: Programs, snapshot: str, file: Path, told: Told) -> None:
    command = programs.connecting("pg_dump", "--format=custom", f"--snapshot={snapshot}", *_NOT_KEPT, f"--file={file}")
    with running(command, programs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
                break
            told("bytes written", file.stat().st_size, 0)
    if process.returncode != 0:
        raise BackupError("pg_dump failed, probably because the role may not read every table; nothing was written")


def read_dump(programs: Programs, file: IO[bytes], told: Told) -> Contents:
    """Read a whole dump and return its contents. Raises BackupError if it is damaged or not a dump of a ledger."""
    file.seek(0)
    command = programs.command("pg_restore", "--file=-")
    with running(command, programs, stdin=file.fileno(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  asked for above
        reading = _Reading(told)
        reading.take(process.stdout)
    if process.returncode != 0:
        raise BackupError("it was not written by pg_dump --format=custom, or it is damaged", about_file=True)
    return reading.contents()


class _Reading:
    """Reads a dump as SQL and counts the rows of the tables that matter."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._highest: dict[str, int] = {}
        self._events = 0

    def take(self, lines: Iterable[bytes]) -> None:
        """Read to the end."""
        table, column = "", -1
        for line in lines:
            if table:
                if line == _END:
                    table = ""
                elif column >= 0:
                    self._note(table, int(line.rstrip(b"\n").split(b"\t")[column]))
            elif found := _COPY.match(line):
                table, columns = found[1].decode(), [name.strip() for name in found[2].split(b",")]
                wanted = _COUNTED.get(table)
                column = columns.index(wanted) if wanted in columns else -1
                if column >= 0:
                    self._highest.setdefault(table, 0)

    def contents(self) -> Contents:
        """Return the contents. Raises BackupError if they are not a ledger."""
        if set(self._highest) != set(_COUNTED):
            raise BackupError("it is a dump of another database: it contains no ledger", about_file=True)
        return Contents(LogEnd(self._events, self._highest[EVENTS_TABLE]), self._highest["keyledger_schema"])

    def _note(self, table: str, number: int) -> None:
        self._highest[table] = max(self._highest[table], number)
        if table == EVENTS_TABLE:
            self._events += 1
            if self._events % _PAGE == 0:
                self._told("reading", self._events, 0)


_COUNTED = {EVENTS_TABLE: b"notification_id", "keyledger_schema": b"version"}
_PAGE = 1000
