"""The newest event that this process has seen of each credential, so that a call notices a log that goes back.

Promises: once a read has seen a credential at a version, no read that begins later takes an earlier version, or another
event of the same one, whatever the database then says. Holds versions and hashes, and no key.
Limits: forgets, beyond `MOST` credentials, the one whose change was seen longest ago, and all when the process ends.
"""

from typing import NamedTuple

from domain.credentials.stored import Head
from domain.errors import CredentialIntegrityError

MOST = 100_000
"""Credentials that are known: some 20 MB."""

Place = tuple[str, str]
"""Tenant and provider."""


class Seen(NamedTuple):
    """An event of a credential. mark: a hash of its row, the same in this process only."""

    version: int
    mark: int


class NewestSeen:
    """Call `of` before a read and `note` after it, on one thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seen: dict[Place, Seen] = {}

    def of(self, place: Place) -> Seen | None:
        """Return the newest event that was seen; None if there was none."""
        return self._seen.get(place)

    def note(self, place: Place, before: Seen | None, head: Head | None) -> None:
        """Remember what a read found. before: from `of`, when the read began.

        Raises CredentialIntegrityError if the stream is older than it was then, or its newest event is another.
        """
        if head is None:
            if before is not None:
                raise CredentialIntegrityError("log-went-back")
            return
        now = Seen(head.version, hash(head.row))
        if before is not None:
            if now == before:
                return
            if now.version <= before.version:
                raise CredentialIntegrityError("log-went-back")
        known = self._seen.pop(place, now)
        self._seen[place] = max(known, now)
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]
