"""Checks that the database holds the ledger that this node knows, before the node serves or a command appends.

Known are the anchors in DATA_DIR and ANCHOR_DIR, and the checkpoints that other nodes published. Refuses to start when
the database contradicts one of them, when a projection is ahead of the log, and when an anchor cannot be read.
An ANCHOR_DIR that cannot be reached prevents a start only if DATA_DIR has no anchor either: there would be nothing to
compare the log with.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from psycopg_pool import ConnectionPool

from domain.errors import CheckpointRefusedError, CredentialIntegrityError
from domain.events.event_log import StreamLog
from domain.operations.restore import RESTORE_STREAM
from keyledger.encryption.nodes import published_checkpoints
from keyledger.log.anchors.contradiction import Contradiction, Kind
from keyledger.log.anchors.log_state import Known, credentials_ahead, look
from keyledger.log.anchors.places import AnchorPlace
from keyledger.log.durable_file import UnreadableFileError
from keyledger.proofs.peer_checkpoints import PeerCheckpoints
from keyledger.proofs.signing_guard import ledger_id_of
from keyledger.proofs.signing_keys import LogSigner
from keyledger.start_error import StartError
from projections.database.connections import BoundedConnection, Connection, unavailable
from projections.proofs import transparency_log


def require_same_log(pool: ConnectionPool[BoundedConnection], places: Sequence[AnchorPlace]) -> None:
    """Raise StartError unless the ledger is the recorded one, has only grown, and is ahead of its projections.

    Raises StoreUnavailableError.
    """
    found = contradiction_of(pool, places) or credentials_ahead(pool)
    if found is not None:
        raise StartError(f"{found.detail}. {found.remedy}")


def contradiction_of(pool: ConnectionPool[BoundedConnection], places: Sequence[AnchorPlace]) -> Contradiction | None:
    """Return how the ledger contradicts its anchors, or None.

    Raises StartError where an anchor is unreadable, or no place can be reached that may have one.
    """
    known = [one for place in places if (one := _known(place)) is not None]
    if not known and (gone := [place for place in places if place.problem]):
        raise StartError(
            f"{gone[0].setting} cannot be reached, and DATA_DIR has no anchor, so there is nothing to compare the log"
            f" with: make the folder {gone[0].file.path.parent} reachable, or remove the setting {gone[0].setting}"
        )
    found = look(pool, known).contradiction
    if found is not None and found.kind is Kind.UNPROVEN:
        with suppress(CredentialIntegrityError):  # the tree then stays unproven
            transparency_log.follower(pool).run()
        found = look(pool, known).contradiction
    return found


def _known(place: AnchorPlace) -> Known | None:
    try:
        return place.known()
    except UnreadableFileError:
        raise StartError(
            f"{place.file.path} records the last known state of the log and cannot be read. Restore the file or make it"
            " readable; if you know what happened to it, delete it: the next start writes a new one"
        ) from None


def require_peers_agree(pool: ConnectionPool[BoundedConnection], log: StreamLog, signer: LogSigner | None) -> None:
    """Raise StartError if the log contradicts a checkpoint that another node published.

    signer: made of AUDIT_SIGNING_KEY; None without one, when no checkpoint can be verified. Raises
    StoreUnavailableError.
    """
    found = contradiction_of_peers(pool, log, signer)
    if found is not None:
        raise StartError(f"{found.detail}. {found.remedy}")


def contradiction_of_peers(
    pool: ConnectionPool[BoundedConnection], log: StreamLog, signer: LogSigner | None
) -> Contradiction | None:
    """Return how the log contradicts a checkpoint that another node published, or None."""
    if signer is None:
        return None
    with unavailable(), pool.connection() as connection:
        try:
            own = signer.of_ledger(ledger_id_of(connection))
        except CheckpointRefusedError as refused:
            raise StartError(refused.detail) from None
        return peer_checkpoints(log, published_checkpoints).contradiction(connection, own)


def peer_checkpoints(log: StreamLog, published: Callable[[Connection], Sequence[tuple[str, str]]]) -> PeerCheckpoints:
    """Return the comparison with the checkpoints of other nodes, which knows the accepted restores of the log."""
    return PeerCheckpoints(published, lambda: log.stream(RESTORE_STREAM))
