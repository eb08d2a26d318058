"""The newest event that this process has seen of each credential, so that a call notices a log that goes back.

Promises: once a read has seen a credential at a version, no read that begins later takes an earlier version, or another
event of the same one, whatever the database then says; but what a promotion may rightly have taken back, because no
standby had confirmed it when it was seen, is forgotten. Holds versions and hashes, and no key.
Limits: forgets, beyond `MOST` credentials, the one whose change was seen longest ago, and all when the process ends.
"""

from typing import NamedTuple, Protocol

from domain.credentials.stored import Head
from domain.errors import CredentialIntegrityError

MOST = 100_000
"""Credentials that are known: some 20 MB."""

Place = tuple[str, str]
"""Tenant and provider, or the words `access key` and the digest of its token, or `tenant` and its id."""


class Seen(NamedTuple):
    """An event of a credential. mark: a hash of its row, the same in this process only."""

    version: int
    mark: int


class Moment(NamedTuple):
    """When something was seen. epoch: of the server that showed it. at: seconds, by the process's own clock."""

    epoch: str
    at: float


class Servers(Protocol):
    """The servers that a process has read from."""

    def moment(self) -> Moment:
        """Return the present moment."""
        ...

    def may_have_taken_back(self, seen: Moment) -> bool:
        """Return whether a promotion since may have taken back what was seen then."""
        ...


class OneServer:
    """A server that takes nothing back."""

    def moment(self) -> Moment:
        """Return the same moment always."""
        return Moment("", 0.0)

    def may_have_taken_back(self, seen: Moment) -> bool:
        """Return False."""
        return False


class NewestSeen:
    """Call `of` before a read and `note` after it, on one thread."""

    def __init__(self, most: int = MOST, servers: Servers | None = None) -> None:
        self._most = most
        self._servers = servers or OneServer()
        self._seen: dict[Place, tuple[Seen, Moment]] = {}

    def of(self, place: Place) -> Seen | None:
        """Return the newest event that was seen; None if there was none."""
        found = self._seen.get(place)
        if found is None:
            return None
        if self._servers.may_have_taken_back(found[1]):
            del self._seen[place]
            return None
        return found[0]

    def note(self, place: Place, before: Seen | None, head: Head | None) -> None:
        """Remember what a read found. before: from `of`, when the read began.

        Raises CredentialIntegrityError if the stream is older than it was then, or its newest event is another.
        """
        now = Seen(head.version, hash(head.row)) if head is not None else None
        if now == before:
            return
        # A promotion during the read may have taken back what was seen before it, so that is looked up again.
        if _went_back(before, now) and _went_back(self.of(place), now):
            raise CredentialIntegrityError("log-went-back")
        if now is None:
            return
        entry = (now, self._servers.moment())
        known = self._seen.pop(place, entry)
        self._seen[place] = max(known, entry)
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]


def _went_back(before: Seen | None, now: Seen | None) -> bool:
    if before is None or now == before:
        return False
    return now is None or now.version <= before.version
