"""A leak, and which credentials it has hit.

Promises: a credential is hit while its present API key was ever sealed under the leaked encryption key, also if it was
re-encrypted since, or set again with other settings or after a deletion: the log keeps what was sealed, and backups do.
It is hit by a fingerprint if its present API key has that. Another API key that was set since is not hit. A pure
function of the credential's events.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from domain.credentials.credential import CredentialSealed
from domain.events.event import Event

_CAUSES = UUID("e7d2a1b4-9c35-5f08-b6e2-41d8f0c9a735")


@dataclass(frozen=True, slots=True)
class Leak:
    """An encryption key, or an API key by its fingerprint, that became known, and not both."""

    key_id: str | None = None
    fingerprint: str | None = None

    @property
    def causation_id(self) -> str:
        """The id of the leak in the log: the same each time, so a revocation that broke off continues as one."""
        return str(uuid5(_CAUSES, f"{self.key_id or ''}/{self.fingerprint or ''}"))

    def asks_about(self, events: Sequence[Event]) -> Sequence[CredentialSealed]:
        """Return the events whose fingerprints `hits` compares. events: all of one credential."""
        if not events or not isinstance(present := events[-1], CredentialSealed):
            return []
        return [present, *(event for event in self._under_the_key(events) if event.masked_key == present.masked_key)]

    def hits(self, events: Sequence[Event], fingerprints: Mapping[int, str]) -> bool:
        """Whether a credential is hit. events: all of it. fingerprints: those that can be read, by version.

        An event whose fingerprint cannot be read counts as one of the same key, if its mask is the same.
        """
        if not (asked := self.asks_about(events)):
            return False
        present, *before = (fingerprints.get(event.originator_version) for event in asked)
        if self.key_id is None:
            return present == self.fingerprint
        return any(one is None or present in {None, one} for one in before)

    def _under_the_key(self, events: Sequence[Event]) -> Iterator[CredentialSealed]:
        sealed = (event for event in events if isinstance(event, CredentialSealed))
        return (event for event in sealed if event.sealed.key_id == self.key_id)
