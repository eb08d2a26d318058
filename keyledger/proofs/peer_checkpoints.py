"""The last checkpoints of the other nodes, which each node publishes in the database.

A node whose DATA_DIR is new, or was rolled back with the database, learns from them what the others signed.
Promises: a checkpoint counts only if this log's own key signed it, so the right to write to the table is not the right
to stop a service: a checkpoint that was forged, damaged or replayed is at most named in `untrusted`. One that was
signed before an operator accepted a restore belongs to the log that was given up, and does not count either.
Limits: at most `LISTED` checkpoints are compared, those of the nodes seen last. Removed ones are published again by
their nodes, within seconds.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from domain.errors import CredentialIntegrityError
from domain.events.event import Event
from domain.operations.restore import is_abandoned
from domain.proofs.checkpoint import Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.signed_note import open_note
from domain.text.visible_text import visible
from keyledger.log.anchors.contradiction import Contradiction, Kind
from keyledger.proofs.signing_keys import LogSigner, verifier_of
from projections.catch_up import position_of
from projections.database.connections import Connection
from projections.proofs.transparency_log import TABLE, root_at

WHERE = "a checkpoint that another node signed"

_log = logging.getLogger("keyledger.audit.checkpoint")


class PeerCheckpoints:
    """Compares the log with the checkpoints that other nodes published.

    untrusted: the names of nodes whose checkpoints this log's key did not sign.
    """

    def __init__(
        self,
        published: Callable[[Connection], Sequence[tuple[str, str]]],
        restores: Callable[[], Iterable[Event]],
    ) -> None:
        """published: returns names and notes. restores: returns the accepted restores of this ledger."""
        self._published = published
        self._restores = restores
        self._opened: dict[str, Checkpoint | None] = {}
        self.untrusted: tuple[str, ...] = ()

    def contradiction(self, connection: Connection, signer: LogSigner) -> Contradiction | None:
        """Return how the log contradicts a published checkpoint, or None. signer: that of the ledger."""
        published = self._published(connection)
        self._open(published, signer)
        # After the checkpoints were read: their signers had trees of those sizes.
        row = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
        head, size = row["head"] if row else 0, position_of(connection, TABLE)
        for checkpoint in dict.fromkeys(self._opened.values()):
            if checkpoint is None or _holds(connection, checkpoint, head, size):
                continue
            if not is_abandoned(checkpoint.size, self._restores()):
                kind = Kind.SHORTER if head < checkpoint.size else Kind.REWRITTEN
                return Contradiction(kind, checkpoint.size, head, WHERE)
        return None

    def _open(self, published: Sequence[tuple[str, str]], signer: LogSigner) -> None:
        """Verify what was not verified before, and name what this log's key did not sign."""
        self._opened = {
            note: self._opened[note] if note in self._opened else _trusted(note, signer) for _, note in published
        }
        untrusted = tuple(sorted({name for name, note in published if self._opened[note] is None}))
        if untrusted and untrusted != self.untrusted:
            _log.warning(
                "checkpoints in the table nodes that are not signed for this ledger are ignored: %s",
                ", ".join(visible(name)[:80] for name in untrusted[:5]),
            )
        self.untrusted = untrusted


def _trusted(note: str, signer: LogSigner) -> Checkpoint | None:
    try:
        opened, _ = open_note(note.encode(), [verifier_of(signer.vkey)])
        checkpoint = parse_checkpoint(opened.text)
    except (ProofError, UnicodeEncodeError):
        return None
    return checkpoint if checkpoint.origin == signer.name else None


def _holds(connection: Connection, checkpoint: Checkpoint, head: int, size: int) -> bool:
    """Return whether the log begins with what was signed, as far as the tree covers it now."""
    if head < checkpoint.size:
        return False
    if size < checkpoint.size:
        return True  # the tree is being computed again; it is compared once it is
    try:
        return root_at(connection, checkpoint.size) == checkpoint.root
    except CredentialIntegrityError:
        return False
