"""The acceptance of a restored older backup, as an event on a stream of its own, so that auditors can read it.

The events after the backup are lost; this event is the only trace that there were any.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_definition import UPDATE, ActionDefinition, EventDefinition, Subject

RESTORE_STREAM = UUID("c1d7a5c2-4a34-5f0e-9a53-7b1e6d2f8a90")
"""One stream for all restores of a ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreAccepted(Event):
    """An operator accepted a log that contradicts what was recorded outside the database.

    from_position: the last recorded position. to_position: the end of the log when it was accepted; it is beyond
    `from_position` if more was written after the restore. from_ledger_id: the id of the ledger that was recorded, where
    the database now holds another one; None where it is the same.
    """

    TOPIC: ClassVar[str] = "RestoreAccepted"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.LOG,
        ActionDefinition(
            "restore-accepted",
            "an operator accepts a log that contradicts what was recorded outside the database",
            UPDATE,
        ),
    )
    from_position: int
    to_position: int
    from_ledger_id: str | None

    def own_stream(self) -> UUID:
        """Return the stream of all restores."""
        return RESTORE_STREAM


def accept_restore(
    last: Event | None,
    from_position: int,
    to_position: int,
    from_ledger_id: str | None,
    meta: CommandMeta,
    now: datetime,
) -> RestoreAccepted:
    """Return the event that accepts a restore. last: the newest event of `RESTORE_STREAM`, or None."""
    return RestoreAccepted(
        **envelope(RESTORE_STREAM, last.originator_version + 1 if last else 1, meta, now),
        from_position=from_position,
        to_position=to_position,
        from_ledger_id=from_ledger_id,
    )


def is_abandoned(size: int, restores: Iterable[Event]) -> bool:
    """Return whether a state of `size` events may belong to a log that an operator gave up by accepting a restore.

    Where the two logs part is not known, so no state up to the one that was given up counts. Each later state covers
    all earlier events, so nothing goes unnoticed once the log has grown past it.
    """
    return any(isinstance(one, RestoreAccepted) and size <= one.from_position for one in restores)
