"""Whether two callers can be the same person, for who may approve a proposal.

Promises: a person who signs in, or a workload of an issuer, is issuer and subject; a key of the settings is its name.
An access key is its name and everyone who was ever given one of its tokens since it was made: each caller that created
or rotated it, and everyone behind those callers in turn. So a key that someone made, rotated, or had another key make
approves nothing that this someone proposed, and two keys that one person handed out approve nothing of each other.
Refuses to guess: where a name can no longer be read, the callers count as the same person; a stream that no holder of
the ledger's keys wrote is an integrity error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.access.access_key import (
    AccessKeyCreated,
    AccessKeyEvent,
    AccessKeyRevoked,
    AccessKeyRotated,
    stream_of,
)
from domain.errors import CredentialIntegrityError
from domain.events.event import Event
from domain.events.event_log import StreamLog


class Opening(Protocol):
    """Opens the personal members of stored events."""

    def opened(self, events: Sequence[Event]) -> Sequence[Mapping[str, str]]:
        """Return, for each event, `actor`, `client_address` and `reason`, as far as it has them and they can be read.

        Raises StoreUnavailableError, CredentialIntegrityError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Behind:
    """Everyone who can act with what a caller presents. whole: every name could be read."""

    names: frozenset[str]
    whole: bool = True

    def may_be(self, other: "Behind") -> bool:
        """Whether the two can be the same person."""
        return not (self.whole and other.whole) or not self.names.isdisjoint(other.names)


class Persons:
    """Finds the persons behind callers, in the log."""

    def __init__(self, log: StreamLog, opening: Opening) -> None:
        self._log = log
        self._opening = opening

    def behind(self, name: str) -> Behind:
        """Return everyone behind a caller. Raises StoreUnavailableError, CredentialIntegrityError."""
        found, waiting, whole = {name}, [name], True
        while waiting:
            handed = [event for event in self._of_key(waiting.pop()) if _hands_out(event)]
            for opened in self._opening.opened(handed):
                if (by := opened.get("actor")) is None:
                    whole = False
                elif by not in found:
                    found.add(by)
                    waiting.append(by)
        return Behind(frozenset(found), whole)

    def was_revoked_since(self, name: str, then: datetime) -> bool:
        """Whether a caller is an access key that was revoked at this time or later, also if it was made again.

        Raises as `behind` does.
        """
        return any(isinstance(event, AccessKeyRevoked) and event.timestamp >= then for event in self._events(name))

    def _of_key(self, name: str) -> Sequence[Event]:
        """Return the events of the access key of a name since it was made; none for other callers."""
        events = self._events(name)
        made = max((nth for nth, event in enumerate(events) if isinstance(event, AccessKeyCreated)), default=0)
        return events[made:]

    def _events(self, name: str) -> Sequence[Event]:
        events = self._log.stream(stream_of(name))
        if not events:
            return events
        if not self._log.proves(events[-1]) or not all(isinstance(event, AccessKeyEvent) for event in events):
            raise CredentialIntegrityError("event-code-not-proved", what="access key")
        return events


def _hands_out(event: Event) -> bool:
    return isinstance(event, AccessKeyCreated | AccessKeyRotated)
