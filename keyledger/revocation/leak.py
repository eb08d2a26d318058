"""A leak, and which credentials it has hit.

Promises: a credential is hit while its present API key was ever sealed under the leaked encryption key, also if it was
re-encrypted since: the log keeps what was sealed, and backups do. It is hit by a fingerprint if its present API key has
that. Another API key that was set since is not hit. A pure function of the credential's events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from domain.credentials.credential import CredentialSealed, CredentialSet
from domain.event import Event

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

    def hits(self, events: Sequence[Event], fingerprint: str | None) -> bool:
        """Whether a credential is hit. events: all of its stream. fingerprint: that of its present API key."""
        if not events or not isinstance(events[-1], CredentialSealed):
            return False
        if self.key_id is None:
            return fingerprint == self.fingerprint
        since = max(nth for nth, event in enumerate(events) if isinstance(event, CredentialSet))
        present = [event for event in events[since:] if isinstance(event, CredentialSealed)]
        return any(event.sealed.key_id == self.key_id for event in present)
