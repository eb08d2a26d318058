"""All that is kept about one actor, for the person to see.

Promises: complete for what the ledger can find under the name: the entries of what the actor did, and those of readers
who searched for the actor. What is not found under a name is not in it: texts by others in which the name occurs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from domain.audit.entries import Action, AuditEntry, AuditFilter, AuditTrail

PAGE = 1000


@dataclass(frozen=True, slots=True)
class PersonReport:
    """entries: of what the actor did, oldest first. searches: by others who searched for the actor."""

    entries: Sequence[AuditEntry]
    searches: Sequence[AuditEntry]


def report_on(actor: str, trail: AuditTrail) -> PersonReport:
    """Return what is kept about an actor. Raises StoreUnavailableError, CredentialIntegrityError."""
    mine = list(_all(trail, AuditFilter(actor=actor, limit=PAGE)))
    searches = [
        entry
        for action in ("audit-read", "audit-exported")
        for entry in _all(trail, AuditFilter(action=Action(action), texts=(f"actor:{actor}",), limit=PAGE))
        if entry.actor != actor
    ]
    return PersonReport(mine, sorted(searches, key=lambda entry: entry.position))


def _all(trail: AuditTrail, wanted: AuditFilter) -> Iterator[AuditEntry]:
    following: int | None = 0
    while following is not None:
        entries, following = trail.page(replace(wanted, after=following))
        yield from entries
