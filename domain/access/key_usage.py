"""Use of access keys: requests that were admitted, counted by the name of the key and hour.

Kept outside the log, as the use of credentials is: it decides nothing. Counts are for finding keys that no one uses,
and for seeing when a key was used; a killed process loses its last batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeyHour:
    """The requests that a key made within an hour. hour: its start, in UTC."""

    name: str
    hour: datetime
    requests: int
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class KeyHours:
    """The hours of a key to read. since, until: bounds for the start of the hour; `until` is not included."""

    name: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100


class KeyUsage(Protocol):
    """The use of access keys. Includes what this node counted. Raises StoreUnavailableError."""

    def last_used(self, names: Sequence[str]) -> Mapping[str, datetime]:
        """Return when each key was last used, for those that were."""
        ...

    def hours(self, wanted: KeyHours) -> Sequence[KeyHour]:
        """Return the hours in which a key was used, oldest first."""
        ...
