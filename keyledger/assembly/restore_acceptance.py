"""What an operator does about a log that contradicts its anchor: look, and accept.

Promises: accepting is recorded in the log, then the last checkpoint is put aside, so that signing begins anew, then the
anchor is renewed; so a crash between any two leaves the start refused and the operator accepts again.
Refuses: nothing of its own; what is found is for an operator to judge.
"""

from psycopg_pool import ConnectionPool

from domain.event import Clock, CommandMeta
from domain.event_log import EventLog
from domain.operations.restore import RESTORE_STREAM, RestoreAccepted, accept_restore
from keyledger.assembly.start_checks import contradiction_of
from keyledger.log.anchor import AnchorFile, Contradiction, look
from keyledger.proofs.checkpoint_file import CheckpointFile
from projections.database.connections import BoundedConnection


class Restore:
    """The restore that a log and the anchor of one DATA_DIR tell of."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], log: EventLog, file: AnchorFile, clock: Clock) -> None:
        self._pool = pool
        self._log = log
        self._file = file
        self._clock = clock

    def found(self) -> Contradiction | None:
        """Return what a start would be refused for and an operator may accept, None when the log is as recorded.

        Raises StartError for what cannot be accepted, StoreUnavailableError.
        """
        return contradiction_of(self._pool, self._file)

    def accept(self, found: Contradiction, meta: CommandMeta) -> RestoreAccepted:
        """Record that the log is accepted as it is, give up the checkpoint of what it was, and renew the anchor.

        Raises VersionConflictError when somebody else accepted meanwhile, StoreUnavailableError, OSError when DATA_DIR
        cannot be written.
        """
        last = self._log.last(RESTORE_STREAM)
        event = accept_restore(last, found.recorded, found.head, meta, self._clock())
        self._log.append([event])
        anchor, _ = look(self._pool, {})
        kept = CheckpointFile(self._file.path.parent, anchor.ledger_id)
        with kept.alone():
            kept.give_up()
        self._file.write(anchor)
        return event
