"""A witness: an auditor's machine that remembers the last checkpoint of a log and cosigns those that extend it.

A log that shows different histories to different people, or withdraws one, would need a cosignature for both; a witness
gives only one. The state is a file with the last checkpoint as the log signed it.

Promises: the new checkpoint is on disk before it is cosigned; after a crash at any point the file holds the old or the
new one, and a repeated request gets the cosignature. Several processes may share the file.
Refuses, and changes nothing: a checkpoint that is not the log's, is smaller, or does not extend the last one.
The first checkpoint is trusted as it is. Standards: C2SP tlog-cosignature, RFC 6962, 2.1.2.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from domain.proofs.checkpoint import Checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import consistency_proof, verify_consistency
from domain.proofs.signed_note import parse_note
from domain.proofs.tiles import TileHashes
from keyledger.evidence import layout
from keyledger.evidence.errors import EvidenceError
from keyledger.evidence.full_bundle import tile_files
from keyledger.evidence.verification import open_checkpoint
from keyledger.log.durable_file import alone, replace_file
from keyledger.proofs.signing_keys import WitnessSigner, verifier_of


class Witness:
    """A witness of one log."""

    def __init__(self, state_file: Path, log_vkey: str, signer: WitnessSigner) -> None:
        """state_file: created with the first checkpoint. log_vkey: the log's verifier key. Raises ProofError."""
        self._file = state_file
        self._log = verifier_of(log_vkey)
        self._signer = signer

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint that was cosigned, None if there is none yet. Raises EvidenceError, OSError."""
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return open_checkpoint(data, self._log)
        except EvidenceError as error:
            raise EvidenceError(f"{self._file} is not the last checkpoint of this log. {error.meaning}") from None

    def observe(self, checkpoint: bytes, proof: Sequence[bytes] = ()) -> bytes:
        """Remember a checkpoint and return it with the witness's cosignature.

        proof: that it extends the last one (RFC 6962, 2.1.2); empty for the first one, and for the last one again.

        Raises EvidenceError, OSError.
        """
        new = open_checkpoint(checkpoint, self._log)
        with alone(self._file):  # two processes must not both accept checkpoints of different histories
            last = self.last()
            if last is not None:
                _require_not_smaller(new, last)
                _require_consistent(new, last, proof)
            if last != new:
                replace_file(self._file, checkpoint)
        return parse_note(checkpoint).signed_by(self._signer).render()

    def observe_bundle(self, folder: Path) -> bytes:
        """Remember the checkpoint of a full bundle and return it with the witness's cosignature.

        The proof is computed from the bundle's tiles. To check its records, use `verify_bundle`.

        Raises EvidenceError, OSError.
        """
        checkpoint = layout.read_checkpoint(folder)
        new, last = open_checkpoint(checkpoint, self._log), self.last()
        proof: Sequence[bytes] = ()
        if last is not None:
            _require_not_smaller(new, last)
            try:
                proof = consistency_proof(last.size, new.size, TileHashes(new.size, partial(tile_files, folder)))
            except ProofError as error:
                raise EvidenceError(f"{error}.") from None
        return self.observe(checkpoint, proof)


def _require_not_smaller(new: Checkpoint, last: Checkpoint) -> None:
    if new.size < last.size:
        raise EvidenceError(
            f"The checkpoint covers {new.size} records, but one that covers {last.size} was seen before: records were"
            " removed, or this is an old checkpoint. Nothing was cosigned."
        )


def _require_consistent(new: Checkpoint, last: Checkpoint, proof: Sequence[bytes]) -> None:
    try:
        verify_consistency(last.size, new.size, tuple(proof), last.root, new.root)
    except ProofError as error:
        raise EvidenceError(
            f"The checkpoint over {new.size} records is not proven to extend the one over {last.size} that was seen"
            f" before ({error}): the log was rewritten, or the proof belongs to other checkpoints. Nothing"
            " was cosigned."
        ) from None
