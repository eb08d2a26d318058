"""Compares what is recorded outside the database, the last checkpoint and the anchors, with the snapshot to verify.

Promises: all of it is read before the first statement of the snapshot, which therefore contains whatever was recorded,
also while services append and record. What cannot be read or reached is an error, since nothing was compared with it.
"""

from pathlib import Path

from keyledger.evidence.errors import EvidenceError
from keyledger.log.anchors.contradiction import Kind
from keyledger.log.anchors.log_state import Known, look_through
from keyledger.log.anchors.places import anchor_places
from keyledger.log.durable_file import UnreadableFileError
from keyledger.proofs.checkpoint_file import CheckpointFile
from projections.database.connections import Connection

ANCHOR, CHECKPOINT = "anchor", "checkpoint"

SizeAndRoot = tuple[int, bytes]
"""Those of a checkpoint."""


class RecordedOutside:
    """The last checkpoint in DATA_DIR, and the anchors in DATA_DIR and ANCHOR_DIR, as they are now."""

    def __init__(self, data_dir: Path, anchor_dir: Path | None) -> None:
        """Read them. An error is raised only when they are compared."""
        self._anchors: list[Known] = []
        self._unread: dict[str, str] = {}
        for place in anchor_places(data_dir, anchor_dir):
            try:
                found = place.known()
            except UnreadableFileError:
                self._unread.setdefault(ANCHOR, f"the anchor {place.file.path} cannot be read")
                continue
            if place.problem:
                self._unread.setdefault(ANCHOR, place.problem)
            if found is not None:
                self._anchors.append(found)
        try:
            self._checkpoint = CheckpointFile(data_dir).read()
        except UnreadableFileError:
            self._unread[CHECKPOINT] = "the last checkpoint in DATA_DIR cannot be read"

    def checkpoint(self, connection: Connection) -> SizeAndRoot | None:
        """Return the last checkpoint, None without one. Raises EvidenceError unless it is of this ledger."""
        self._require(CHECKPOINT)
        if self._checkpoint is None:
            return None
        checkpoint = self._checkpoint[1]
        row = connection.execute("SELECT ledger_id::text FROM keyledger_ledger").fetchone()
        if row is None or checkpoint.ledger_id != row["ledger_id"]:
            meaning = (
                f"the last checkpoint in DATA_DIR is of another ledger than the database holds: {checkpoint.ledger_id}"
            )
            raise EvidenceError(meaning, part=CHECKPOINT)
        return checkpoint.size, checkpoint.root

    def require_anchored(self, connection: Connection) -> int:
        """Return how many anchors were compared. Raises EvidenceError unless the ledger is theirs and only grew."""
        self._require(ANCHOR)
        contradiction = look_through(connection, self._anchors).contradiction if self._anchors else None
        # A tree that is behind is not an error of the verification: it was compared as far as it goes.
        if contradiction is not None and contradiction.kind is not Kind.UNPROVEN:
            raise EvidenceError(contradiction.detail, part=ANCHOR)
        return len(self._anchors)

    def _require(self, part: str) -> None:
        if part in self._unread:
            raise EvidenceError(self._unread[part], part=part)
