"""Shows how the database contradicts what this node knows of its ledger, and lets an operator accept it as it is.

Promises: accepting appends an event, which names the former ledger if the id changed, then sets the last checkpoint
aside so that signing starts over, then binds DATA_DIR and ANCHOR_DIR to the ledger as it is. After a crash between two
of these steps the service still refuses to start, and the operator accepts again.
An event that no holder of the keys wrote can be accepted by its position; the attestation that says so is an event too.
Refuses: a contradiction that is not the log's own, such as a projection ahead of it, which a replay corrects. Whether
the log should be accepted is for the operator to judge.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from psycopg_pool import ConnectionPool

from domain.events.event import Clock, CommandMeta
from domain.events.event_log import StreamLog
from domain.operations.restore import RESTORE_STREAM, RestoreAccepted, accept_restore
from keyledger.assembly.checks.same_ledger import contradiction_of, contradiction_of_peers
from keyledger.log.anchors.contradiction import Contradiction
from keyledger.log.anchors.log_state import look
from keyledger.log.anchors.places import AnchorPlace
from keyledger.log.anchors.watch import taken_over
from keyledger.log.event_codes.attestation import accept, forged_positions
from keyledger.log.event_store import CredentialLog
from keyledger.proofs.checkpoint_file import CheckpointFile
from keyledger.proofs.signing_keys import LogSigner
from keyledger.start_error import StartError
from projections.database.connections import BoundedConnection

FORGED_MAX = 100
"""Forged events that an operator can accept at a time; more speak for a restore."""


class Restore:
    """A restore that was noticed because the database contradicts what this node knows."""

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        log: CredentialLog,
        data_dir: Path,
        places: Sequence[AnchorPlace],
        signer: LogSigner | None,
        clock: Clock,
    ) -> None:
        """places: of the anchors. signer: made of AUDIT_SIGNING_KEY, for the checkpoints of other nodes."""
        self._pool = pool
        self._log = log
        self._kept = CheckpointFile(data_dir)
        self._places = places
        self._signer = signer
        self._clock = clock

    def found(self) -> Contradiction | None:
        """Return the contradiction that prevents a start and that an operator may accept; None if there is none.

        Raises StartError for a contradiction that cannot be accepted, StoreUnavailableError.
        """
        found = contradiction_of(self._pool, self._places)
        if found is not None and not found.acceptable:
            raise StartError(f"{found.detail}. {found.remedy}")
        log: StreamLog = self._log
        signed = contradiction_of_peers(self._pool, log, self._signer)
        if found is None or signed is None:
            return found or signed
        return replace(found, recorded=max(found.recorded, signed.recorded))

    def forged(self) -> list[int]:
        """Return the positions of events that no holder of the ledger's keys wrote, at most `FORGED_MAX` of them.

        Raises StoreUnavailableError.
        """
        return forged_positions(self._pool, self._log.codes, FORGED_MAX)

    def accept_forged(self, forged: Sequence[int], meta: CommandMeta) -> None:
        """Attest the log with these events as they are, so that they no longer stop a node.

        A deletion among them then lets the global key serve, as a deletion by a holder of the keys does. Raises
        StoreUnavailableError.
        """
        accept(self._pool, self._log, forged, meta, self._clock)

    def accept(self, found: Contradiction, meta: CommandMeta) -> RestoreAccepted:
        """Record that the log is accepted, set aside the checkpoint of the former log, and bind the places to this one.

        Raises VersionConflictError when someone else accepted meanwhile, StoreUnavailableError, OSError when DATA_DIR
        or ANCHOR_DIR cannot be written.
        """
        for place in self._places:
            place.require()
        last = self._log.last(RESTORE_STREAM)
        event = accept_restore(last, found.recorded, found.head, found.known_ledger, meta, self._clock())
        self._log.append([event])
        now = look(self._pool, []).now
        with self._kept.alone():
            self._kept.give_up()
        taken_over(now, self._places)
        return event
