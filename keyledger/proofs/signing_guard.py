"""The checks before a checkpoint is signed, besides that of the last one: the anchors and the other nodes.

Promises: a contradiction anywhere stops signing, and the reason names the place.
"""

from collections.abc import Callable
from dataclasses import dataclass

from domain.errors import CheckpointRefusedError
from keyledger.proofs.peer_checkpoints import PeerCheckpoints
from keyledger.proofs.signing_keys import LogSigner
from projections.database.connections import Connection


@dataclass(frozen=True, slots=True)
class SigningGuard:
    """The checks of one service.

    same_log: raises CheckpointRefusedError if the ledger contradicts its anchors. peers: the checkpoints of other
    nodes. publish: shows them this node's last one; raises nothing.
    """

    same_log: Callable[[], None] = lambda: None
    peers: PeerCheckpoints | None = None
    publish: Callable[[str], None] = lambda note: None

    @property
    def untrusted_peers(self) -> int:
        """The number of nodes whose published checkpoints were not signed for this ledger."""
        return len(self.peers.untrusted) if self.peers is not None else 0

    def require_peers_agree(self, connection: Connection, signer: LogSigner) -> None:
        """Raise CheckpointRefusedError if the log contradicts what another node signed. signer: that of the ledger."""
        if self.peers is not None and (found := self.peers.contradiction(connection, signer)) is not None:
            raise CheckpointRefusedError(found.detail)


def ledger_id_of(connection: Connection) -> str:
    """Return the id of the ledger. Raises CheckpointRefusedError unless there is exactly one."""
    rows = connection.execute("SELECT ledger_id::text FROM keyledger_ledger").fetchall()
    if len(rows) != 1:
        raise CheckpointRefusedError("the database has no single ledger id")
    ledger_id: str = rows[0]["ledger_id"]
    return ledger_id
