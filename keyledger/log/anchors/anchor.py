"""The log anchor: the last known state of the one ledger that a folder belongs to, kept outside the database.

The file log-anchor.json in DATA_DIR, and in ANCHOR_DIR where that is set, is a JSON object:

    ledger_id   the ledger; created with the tables, and the same after a dump and a restore
    position    of the last event seen
    event       SHA-256 over that event's stored row; null while the log is empty
    tree_size   number of events that the hash tree covered
    tree_root   its root, in hexadecimal digits

Promises: after a crash at any point the file is whole, either old or new. Only its owner can read it. It never names an
event that was not committed, so a crash of this process or of the database never looks like a contradiction. A folder
is bound to the first ledger that a service used it with; only `replace` binds it to another.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from keyledger.log.durable_file import UnreadableFileError, replace_file

FILE_NAME = "log-anchor.json"


@dataclass(frozen=True, slots=True)
class Anchor:
    """One state of a ledger. event: None while the log is empty. tree_root: 32 bytes."""

    ledger_id: str
    position: int
    event: str | None
    tree_size: int
    tree_root: bytes

    def covers(self, other: "Anchor") -> bool:
        """Whether this is a state of the same ledger that is at least as far along."""
        here, there = (self.position, self.tree_size), (other.position, other.tree_size)
        return self.ledger_id == other.ledger_id and here[0] >= there[0] and here[1] >= there[1]


class AnchorFile:
    """The anchor in one folder. Processes may share it: an overwritten anchor is written again."""

    def __init__(self, folder: Path) -> None:
        """folder: created when the anchor is written first."""
        self.path = folder / FILE_NAME

    def read(self) -> Anchor | None:
        """Return the anchor, None if there is no file. Raises UnreadableFileError."""
        try:
            return _parse(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            raise UnreadableFileError from None

    def advance(self, anchor: Anchor) -> None:
        """Write a later state of the same ledger; leave what another process wrote if that is further along.

        Raises OSError and UnreadableFileError; the file is then unchanged. An anchor of another ledger counts as
        unreadable.
        """
        known = self.read()
        if known is not None and known.ledger_id != anchor.ledger_id:
            raise UnreadableFileError
        if known is None or not known.covers(anchor):
            self.replace(anchor)

    def replace(self, anchor: Anchor) -> None:
        """Write an anchor, whatever was there. Raises OSError."""
        replace_file(self.path, render(anchor))


def render(anchor: Anchor) -> bytes:
    """Return an anchor as it is stored."""
    content = {
        "ledger_id": anchor.ledger_id,
        "position": anchor.position,
        "event": anchor.event,
        "tree_size": anchor.tree_size,
        "tree_root": anchor.tree_root.hex(),
    }
    return f"{json.dumps(content, indent=2)}\n".encode()


def _parse(content: bytes) -> Anchor:
    try:
        members: Any = json.loads(content)
        event = members["event"]
        return Anchor(
            str(UUID(members["ledger_id"])),
            int(members["position"]),
            None if event is None else str(event),
            int(members["tree_size"]),
            bytes.fromhex(members["tree_root"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UnreadableFileError from None
