"""The attestation of the log up to a position, as events on a stream of their own.

A holder of the ledger's keys attests what no code shows any more, or none ever did: the events from before the first
key, and those whose codes were made with a key that is about to be retired. The event has a code of its own under the
present key, and the root of the hash tree, so the tree holds what is older.
Promises: an attestation that was not written by a holder of the keys counts for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.errors import CredentialIntegrityError
from domain.events.event import CommandMeta, Event, envelope
from domain.events.event_code import CodeState, EventCodes, LogRow
from domain.events.event_definition import UPDATE, ActionDefinition, EventDefinition, Subject

ATTESTATION_STREAM = UUID("3c9d0e6f-52b8-5a41-8f0e-6d7a1b2c4e90")
"""One stream for all attestations of a ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAttested(Event):
    """The log was attested. attested_to: the last position that it covers; 0 for none.

    root: of the tree over these events, 64 hexadecimal digits. accepted: positions of events without a right code that
    an operator accepted as they are, separated by commas; None for none. lost_keys: ids of keys that an operator
    declared lost, separated by commas; codes under them are not attested.
    """

    TOPIC: ClassVar[str] = "LogAttested"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.LOG,
        ActionDefinition(
            "log-attested",
            "a first key, a rotation, a retirement or an operator attests what is in the log by then",
            UPDATE,
        ),
    )
    attested_to: int
    root: str
    accepted: str | None = None
    lost_keys: str | None = None

    def own_stream(self) -> UUID:
        """Return the stream of all attestations."""
        return ATTESTATION_STREAM

    @property
    def accepted_positions(self) -> tuple[int, ...]:
        """The positions in `accepted`. Raises CredentialIntegrityError for anything but positions."""
        try:
            return tuple(map(int, self.accepted.split(","))) if self.accepted else ()
        except ValueError:
            raise CredentialIntegrityError("event-malformed") from None


def attest_log(
    last: Event | None,
    attested_to: int,
    root: bytes,
    meta: CommandMeta,
    now: datetime,
    accepted: Iterable[int] = (),
    lost: Iterable[str] = (),
) -> LogAttested:
    """Return the event that attests the log. last: the newest event of `ATTESTATION_STREAM`, or None."""
    return LogAttested(
        **envelope(ATTESTATION_STREAM, last.originator_version + 1 if last else 1, meta, now),
        attested_to=attested_to,
        root=root.hex(),
        accepted=",".join(map(str, sorted(accepted))) or None,
        lost_keys=",".join(sorted(lost)) or None,
    )


def believed(attestations: Iterable[tuple[LogRow, LogAttested]], codes: EventCodes) -> EventCodes:
    """Return the codes with what the attestations of the log say.

    One counts only if its own code is right: the newest repeats what older ones say, whose keys may be retired.
    """
    for row, event in attestations:
        if codes.check(row) is CodeState.RIGHT:
            accepted = codes.accepted | set(event.accepted_positions)
            lost = codes.lost.union(event.lost_keys.split(",") if event.lost_keys else ())
            codes = codes.with_attested(max(codes.attested, event.attested_to), accepted, lost)
    return codes
