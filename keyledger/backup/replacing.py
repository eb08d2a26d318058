"""Replaces the contents of a database by those of a dump, in one transaction.

pg_restore turns the dump into SQL and psql runs it. COMMIT is sent only after pg_restore ended without an error and the
events were counted. Whichever of the three processes is killed, the server rolls back.
"""

import re
import subprocess
from collections.abc import Iterator
from typing import IO

from keyledger.backup.children import running
from keyledger.backup.dump import Contents, Told
from keyledger.backup.errors import BackupError
from keyledger.backup.programs import Programs
from projections.database.migration import SCHEMA, statements_of

_OURS = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+)", re.MULTILINE)
_CODE = re.compile(rb"ERROR:\s+([0-9A-Z]{5})")
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
_NEWER = 170000
_REASONS = {
    "42704": "it names a role that this server does not have: create it, or give --without-roles",
    "42501": "the role may not replace the tables: use their owner in DATABASE_ADMIN_URL",
    "53100": "the server's disk is full",
    "P0001": "the events that arrived are not those of the dump",
}


def replace_by(file: IO[bytes], contents: Contents, programs: Programs, told: Told, *, without_roles: bool) -> None:
    """Replace the ledger of a database by that of a dump, whose `contents` were read before.

    without_roles: do not restore owners and privileges. Raises BackupError, and what `told` raises; the database is
    then unchanged.
    """
    file.seek(0)
    roles = ["--no-owner", "--no-privileges"] if without_roles else []
    reading = programs.command("pg_restore", "--file=-", "--clean", "--if-exists", *roles)
    writing = programs.connecting("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate")
    with (
        running(writing, programs, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as writer,
        running(reading, programs, stdin=file.fileno(), stdout=subprocess.PIPE) as reader,
    ):
        assert writer.stdin and writer.stderr and reader.stdout  # noqa: S101  asked for above
        said = b""
        try:
            for part in _statements(reader.stdout, programs.server_version, told):
                writer.stdin.write(part)
            if reader.wait() == 0:
                writer.stdin.write(_count(contents))
                writer.stdin.flush()
                said = writer.stderr.readline()
                writer.stdin.write(b"COMMIT;\n" if said == _COUNTED else b"")
            writer.stdin.close()
        except BrokenPipeError:
            pass  # psql ended; its exit code says why
        said += writer.stderr.read()
    if writer.returncode != 0 or reader.returncode != 0:
        raise BackupError(f"nothing was restored: {_reason(said)}")


def _reason(said: bytes) -> str:
    found = _CODE.search(said)
    code = found[1].decode() if found else ""
    return _REASONS.get(code, f"the server answered with code {code}" if code else "a program was ended")


def _statements(lines: IO[bytes], server_version: int, told: Told) -> Iterator[bytes]:
    yield f"SET client_min_messages = error;\nBEGIN;\nDROP TABLE IF EXISTS {', '.join(_tables())} CASCADE;\n".encode()
    done, before_rows = 0, True
    for line in lines:
        before_rows = before_rows and not line.startswith(b"COPY ")
        if before_rows and line == _UNKNOWN_BEFORE_17 and server_version < _NEWER:
            continue
        done += len(line)
        if done % 1000 < len(line):
            told("bytes restored", done, 0)
        yield line


def _tables() -> list[str]:
    """Return the tables of every release so far, because those newer than the dump are removed too."""
    return [name for file in SCHEMA for name in _OURS.findall(statements_of(file))]


def _count(contents: Contents) -> bytes:
    """Return SQL that fails if events are missing, and otherwise writes one word to stderr."""
    end = contents.end
    return _COUNT.replace("EVENTS", str(end.events)).replace("LAST", str(end.position)).encode() + _SAY_COUNTED


_COUNT = """
RESET search_path;
DO $$ BEGIN
    IF (SELECT (count(*), coalesce(max(notification_id), 0)) FROM keyledger_events)
        IS DISTINCT FROM ROW(EVENTS::bigint, LAST::bigint) THEN RAISE EXCEPTION 'lost';
    END IF;
END $$;
"""
_COUNTED = b"counted\n"
_SAY_COUNTED = b"\\warn " + _COUNTED
