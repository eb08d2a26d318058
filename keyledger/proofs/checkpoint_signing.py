"""The checkpoints and proofs that one running service issues.

Promises: a checkpoint is signed only if the ledger is the recorded one, and its tree begins with the last checkpoint
kept outside the database and with those that other nodes published, so a database that was replaced, rolled back or
rewritten gets no signature. A write after what is signed is confirmed first, so no failover takes it back. A checkpoint
is on disk before it is returned. Its origin names the ledger. Each request first catches up with the log, so its answer
includes every earlier write.
Refuses, with `CheckpointRefusedError`: to sign for another ledger, to sign a log that contradicts its anchor or a
checkpoint, or that holds an event that no holder of the ledger's keys wrote, or when one of these cannot be read; to
give out evidence with such an event.
Survives: after a crash between two steps, the last checkpoint or a newer one of the same log is on disk.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg_pool import ConnectionPool

from domain.audit.entries import facts_of
from domain.audit.leaf import leaf_of
from domain.audit.personal_members import disclosures_of
from domain.errors import CheckpointRefusedError, CredentialIntegrityError
from domain.events.event import Clock
from domain.events.personal import Disclosing
from domain.proofs.checkpoint import Checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import consistency_proof, inclusion_proof, leaf_hash
from domain.proofs.proofs import Consistency, Inclusion, ProvenLeaf, SignedCheckpoint, proof_not_found, signing_off
from domain.proofs.signed_note import SignedNote, open_note
from domain.proofs.tiles import TileHashes
from keyledger.log.confirmation import confirm
from keyledger.log.durable_file import UnreadableFileError
from keyledger.log.event_codes.code_watch import CodeWatch
from keyledger.proofs.checkpoint_file import CheckpointFile
from keyledger.proofs.signing_guard import SigningGuard, ledger_id_of
from keyledger.proofs.signing_keys import LogSigner, verifier_of
from projections.catch_up import CatchUp, position_of, read_after, read_all
from projections.database.connections import BoundedConnection, Connection, connect, unavailable
from projections.proofs.transparency_log import TABLE, hashes_at, leaf_hashes, root_at

_PAGE = 1000
_UNWRITABLE = "DATA_DIR is not writable, and a checkpoint must be stored there before it is returned"
_log = logging.getLogger("keyledger.audit.checkpoint")


@dataclass(frozen=True, slots=True)
class _Last:
    """The last checkpoint on disk, as far as this process knows."""

    note: SignedNote
    checkpoint: Checkpoint
    signed_at: datetime


class Transparency:
    """Implements `domain.proofs.proofs.TransparencyLog`."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        dsn: str,
        follower: CatchUp,
        codes: CodeWatch,
        signer: LogSigner | None,
        data_dir: Path,
        clock: Clock,
        people: Disclosing,
        guard: SigningGuard | None = None,
    ) -> None:
        """dsn: for evidence, which uses its own connection. codes: checks every event before it is signed.

        signer: None if no AUDIT_SIGNING_KEY is set. people: opens what the evidence discloses.
        """
        self._pool = pool
        self._dsn = dsn
        self._follower = follower
        self._codes = codes
        self._signer = signer
        self._data_dir = data_dir
        self._clock = clock
        self._people = people
        self._guard = guard or SigningGuard()
        self._signing = threading.Lock()
        self._last: _Last | None = None

    @property
    def signs(self) -> bool:
        """Whether this service has a key to sign with."""
        return self._signer is not None

    @property
    def untrusted_peers(self) -> int:
        """The number of nodes whose published checkpoints were not signed for this ledger."""
        return self._guard.untrusted_peers

    @property
    def last_signed_at(self) -> datetime | None:
        """When the last checkpoint was signed, as far as this process knows."""
        return self._last.signed_at if self._last else None

    def checkpoint(self) -> SignedCheckpoint:
        """Return a checkpoint of the log as it is now.

        Raises NotFoundError if signing is off, CheckpointRefusedError, StoreUnavailableError.
        """
        if self._signer is None:
            raise signing_off()
        self._follower.run()
        with self._signing:
            last = self._renew(self._signer)
        return SignedCheckpoint(
            last.note.render().decode(),
            last.checkpoint.origin,
            last.checkpoint.size,
            last.checkpoint.root,
            last.signed_at,
        )

    def inclusion(self, position: int, size: int | None) -> Inclusion:
        """Prove a position. Raises NotFoundError, StoreUnavailableError, CredentialIntegrityError."""
        self._follower.run()
        with self._connection() as connection:
            size = self._size(size)
            if not 1 <= position <= size:
                raise proof_not_found(f"the tree of {size} leaves has no position {position}")
            (appended,) = read_after(connection, position - 1, 1)
            leaf = leaf_of(appended.event, appended.row)
            with _whole_tree(position):
                proof = inclusion_proof(position - 1, size, hashes_at(connection, size))
            root = root_at(connection, size)
        return Inclusion(position, size, leaf.decode(), leaf_hash(leaf), proof, root)

    def consistency(self, older: int, size: int | None) -> Consistency:
        """Prove that the log only grew. Raises NotFoundError, StoreUnavailableError, CredentialIntegrityError."""
        self._follower.run()
        with self._connection() as connection:
            size = self._size(size)
            if not 0 <= older <= size:
                raise proof_not_found(f"a tree of {size} leaves does not begin with one of {older}")
            with _whole_tree(None):
                proof = consistency_proof(older, size, hashes_at(connection, size))
            return Consistency(older, size, root_at(connection, older), root_at(connection, size), proof)

    def evidence(self, size: int, tenant_id: str | None) -> Iterator[ProvenLeaf]:
        """Yield leaves in order, read page by page. Raises StoreUnavailableError, CredentialIntegrityError."""
        with connect(self._dsn) as connection, unavailable():
            hashes = hashes_at(connection, size)
            for batch in read_all(connection, 0, _PAGE, size):
                stored = leaf_hashes(connection, batch[0].position, batch[-1].position)
                wanted = [one for one in batch if tenant_id in {None, facts_of(one.event).tenant_id}]
                for appended, disclosed in zip(
                    wanted, disclosures_of([one.event for one in wanted], self._people), strict=True
                ):
                    self._codes.require_one(appended.row)
                    leaf = leaf_of(appended.event, appended.row).decode()
                    proof = () if tenant_id is None else _proof(appended.position, size, hashes)
                    yield ProvenLeaf(appended.position, leaf, stored.get(appended.position), proof, disclosed)

    def _renew(self, signer: LogSigner) -> _Last:
        """Sign the tree as it is, unless the last checkpoint is of the same size. The caller holds the lock."""
        self._guard.same_log()
        file = CheckpointFile(self._data_dir)
        with self._connection() as connection:
            signer = signer.of_ledger(ledger_id_of(connection))
        with self._alone(file):
            last = self._continue(file, signer)
        self._guard.publish(last.note.render().decode())
        return last

    def _continue(self, file: CheckpointFile, signer: LogSigner) -> _Last:
        """Sign the tree if it extends the last checkpoint, and store the new checkpoint."""
        with self._connection() as connection:
            last = self._kept(file, signer)
            # After the file was read: its writer had a tree of that size, so a smaller one now was rolled back.
            size = position_of(connection, TABLE)
            _require_events(connection, size)
            if last is not None:
                self._require_continuation(connection, last.checkpoint, size)
            self._guard.require_peers_agree(connection, signer)
            if last is not None and last.checkpoint.size == size and last.checkpoint.origin == signer.name:
                self._last = last
                return last
            self._require_codes(size)
            checkpoint = Checkpoint(signer.name, size, root_at(connection, size))
            confirm(connection)  # what is signed is for ever, so no failover may take it back
        note = SignedNote(checkpoint.text).signed_by(signer)
        try:
            file.write(note)
        except OSError:
            raise CheckpointRefusedError(_UNWRITABLE, log_is_right=True) from None
        self._last = _Last(note, checkpoint, self._clock())
        _log.info("audit checkpoint", extra={"size": size, "checkpoint": note.render().decode()})
        return self._last

    def _require_codes(self, size: int) -> None:
        try:
            self._codes.require(size)
        except CredentialIntegrityError as forged:
            raise CheckpointRefusedError(
                f"{forged.reason}: the log is not as the holders of its keys wrote it"
            ) from None

    def _kept(self, file: CheckpointFile, signer: LogSigner) -> _Last | None:
        """Return the last checkpoint of the file, signed with this key or an earlier one.

        Raises CheckpointRefusedError.
        """
        try:
            found = file.read()
        except UnreadableFileError:
            raise CheckpointRefusedError(
                f"the last checkpoint in DATA_DIR/{file.path.parent.name} cannot be read"
            ) from None
        if found is None:
            return None
        note, checkpoint = found
        if not signer.name.endswith(f"/{checkpoint.ledger_id}"):
            raise CheckpointRefusedError(
                f"the last checkpoint in DATA_DIR was signed for another ledger: {checkpoint.origin}"
            )
        if checkpoint.origin == signer.name:
            try:
                open_note(note.render(), [verifier_of(signer.vkey)])
            except ProofError:
                raise CheckpointRefusedError(
                    "the last checkpoint in DATA_DIR was not signed with AUDIT_SIGNING_KEY"
                ) from None
        if self._last is not None and self._last.checkpoint == checkpoint:
            return self._last
        return _Last(note, checkpoint, datetime.fromtimestamp(file.path.stat().st_mtime, self._clock().tzinfo))

    def _require_continuation(self, connection: Connection, last: Checkpoint, size: int) -> None:
        if size < last.size:
            raise CheckpointRefusedError(
                f"the log has {size} entries, but a checkpoint over {last.size} was signed: it was rolled back"
            )
        try:
            root = root_at(connection, last.size)
        except CredentialIntegrityError:
            root = b""
        if root != last.root:
            raise CheckpointRefusedError(
                f"the first {last.size} entries are not those that were signed: the log was rewritten"
            )

    @contextmanager
    def _alone(self, file: CheckpointFile) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(file.alone())
            except OSError:
                raise CheckpointRefusedError(_UNWRITABLE, log_is_right=True) from None
            yield

    @contextmanager
    def _connection(self) -> Iterator[BoundedConnection]:
        with unavailable(), self._pool.connection() as connection:
            yield connection

    def _size(self, wanted: int | None) -> int:
        known = self._follower.lag().position
        if wanted is not None and wanted > known:
            raise proof_not_found(f"the log has {known} entries, not {wanted}")
        return known if wanted is None else wanted


def _require_events(connection: Connection, size: int) -> None:
    """Raise CheckpointRefusedError unless the log has every event that the tree covers."""
    row = connection.execute("SELECT coalesce(max(notification_id), 0) AS head FROM keyledger_events").fetchone()
    if row is None or row["head"] < size:
        raise CheckpointRefusedError(f"the tree covers {size} events, but the log has fewer: it was rolled back")


def _proof(position: int, size: int, hashes: TileHashes) -> tuple[bytes, ...]:
    with _whole_tree(position):
        return inclusion_proof(position - 1, size, hashes)


@contextmanager
def _whole_tree(position: int | None) -> Iterator[None]:
    try:
        yield
    except ProofError:
        where = "" if position is None else f" for position {position}"
        raise CredentialIntegrityError(f"transparency-log-damaged{where}") from None
