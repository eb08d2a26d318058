"""The log anchor: the last known state of the log, kept outside the database in DATA_DIR/log-anchor.json.

The file is a JSON object whose keys are ledger ids. Each value has

    position    of the last event seen
    event       SHA-256 over that event's stored row; null while the log is empty

A ledger id is created with the tables and survives a dump and a restore. A folder may serve several databases; their
anchors are independent.

Promises: after a crash at any point the file is whole, either old or new. Only its owner can read it. It never names an
event that was not committed, so a crash of this process or of the database never looks like a contradiction. A log that
ends before the recorded position, or has another event there, is distinguished from one that has only grown.
Does not detect: replaced events before the recorded one, if that one is unchanged.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg_pool import ConnectionPool

from domain.audit.leaf import row_digest
from domain.errors import StoreUnavailableError
from domain.event_code import LogRow
from keyledger.log.durable_file import UnreadableFileError, replace_file
from projections.database.connections import BoundedConnection, Row, unavailable

FILE_NAME = "log-anchor.json"

# One statement: one snapshot.
_LOOK = """
SELECT ledger.ledger_id, notification_id, originator_id, originator_version, topic, state, code_key_id, code
  FROM keyledger_ledger AS ledger
  LEFT JOIN keyledger_events AS event
    ON event.notification_id = ANY (ARRAY[%s::bigint, (SELECT max(notification_id) FROM keyledger_events)])
 ORDER BY event.notification_id
"""


@dataclass(frozen=True, slots=True)
class Anchor:
    """One state of the log."""

    ledger_id: str
    position: int
    event: str | None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """How the log contradicts its anchor. head: the present end of the log."""

    recorded: int
    head: int

    @property
    def detail(self) -> str:
        """The contradiction as a sentence."""
        if self.head < self.recorded:
            return (
                f"the log ends at position {self.head}, but position {self.recorded} was recorded outside the database:"
                " an older backup was restored, or events were removed"
            )
        return (
            f"the event at position {self.recorded} is not the one that was recorded outside the database, and the log"
            f" goes on to position {self.head}: an older backup was restored and written to, or the log was rewritten"
        )


class AnchorFile:
    """The anchors of one DATA_DIR. Processes may share it: an overwritten anchor is written again."""

    def __init__(self, data_dir: Path) -> None:
        """data_dir: created when the first anchor is written."""
        self.path = data_dir / FILE_NAME

    def read(self) -> dict[str, Anchor]:
        """Return the anchors by ledger id; empty if there is no file. Raises UnreadableFileError."""
        try:
            stored = json.loads(self.path.read_bytes())
            return {ledger_id: _read(ledger_id, members) for ledger_id, members in stored.items()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UnreadableFileError from None

    def write(self, anchor: Anchor) -> None:
        """Replace the anchor of a ledger.

        Raises OSError and UnreadableFileError; the file is then unchanged.
        """
        anchors = {**self.read(), anchor.ledger_id: anchor}
        content = {one.ledger_id: {"position": one.position, "event": one.event} for one in anchors.values()}
        replace_file(self.path, f"{json.dumps(content, indent=2)}\n".encode())


def look(pool: ConnectionPool[BoundedConnection], known: Mapping[str, Anchor]) -> tuple[Anchor, Contradiction | None]:
    """Return the present state of the log, and how it contradicts the `known` one. Raises StoreUnavailableError."""
    with unavailable(), pool.connection() as connection:
        ledger = connection.execute("SELECT ledger_id::text FROM keyledger_ledger").fetchone()
        recorded = known.get(ledger["ledger_id"]) if ledger else None
        rows = connection.execute(_LOOK, [recorded.position if recorded else None], binary=True).fetchall()
    if not rows:
        raise StoreUnavailableError  # the ledger id is created with the tables and cannot be removed
    now, found = _anchor(rows[-1]), _anchor(rows[0])
    if recorded is None or recorded.position == 0 or recorded == found:
        return now, None
    return now, Contradiction(recorded.position, now.position)


def renew(pool: ConnectionPool[BoundedConnection], file: AnchorFile) -> None:
    """Move an existing anchor to the end of the log, unless they contradict each other or anything fails.

    For commands that append while no service runs; the next service would do the same.
    """
    with suppress(UnreadableFileError, StoreUnavailableError, OSError):
        known = file.read()
        now, contradiction = look(pool, known)
        if contradiction is None and now.ledger_id in known and now != known[now.ledger_id]:
            file.write(now)


def _read(ledger_id: str, members: Mapping[str, Any]) -> Anchor:
    event = members["event"]
    return Anchor(str(UUID(ledger_id)), int(members["position"]), None if event is None else str(event))


def _anchor(row: Row) -> Anchor:
    if row["notification_id"] is None:
        return Anchor(str(row["ledger_id"]), 0, None)
    stored = LogRow._make(list(row.values())[1:])
    return Anchor(str(row["ledger_id"]), stored.position, row_digest(stored))
