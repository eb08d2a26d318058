"""Shows how a log contradicts its anchor, and lets an operator accept the log as it is.

Promises: accepting appends an event, then sets the last checkpoint aside so that signing starts over, then renews the
anchor. After a crash between two of these steps the service still refuses to start, and the operator accepts again.
Whether the log should be accepted is for the operator to judge.
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
    """A restore that was noticed because the log contradicts the anchor in DATA_DIR."""

    def __init__(self, pool: ConnectionPool[BoundedConnection], log: EventLog, file: AnchorFile, clock: Clock) -> None:
        self._pool = pool
        self._log = log
        self._file = file
        self._clock = clock

    def found(self) -> Contradiction | None:
        """Return the contradiction that prevents a start and that an operator may accept; None if there is none.

        Raises StartError for a contradiction that cannot be accepted, StoreUnavailableError.
        """
        return contradiction_of(self._pool, self._file)

    def accept(self, found: Contradiction, meta: CommandMeta) -> RestoreAccepted:
        """Record that the log is accepted, set aside the checkpoint of the former log, and renew the anchor.

        Raises VersionConflictError when someone else accepted meanwhile, StoreUnavailableError, OSError when DATA_DIR
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
