"""The audit trail in the words of its readers: one entry for each event, in log order, without any secret."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Action(StrEnum):
    """What was done to a credential."""

    SET = "set"
    REPLACED = "replaced"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which credential, and when.

    position: place in the log. version: of the credential after it. masked_key and key_id are None for a deletion.
    """

    position: int
    timestamp: datetime
    action: Action
    tenant_id: str
    provider: str
    version: int
    actor: str
    request_id: str
    command_id: str
    masked_key: str | None
    key_id: str | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries a reader wants. `after` is a position, `since` is included, `until` is not; oldest come first."""

    tenant_id: str | None = None
    provider: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    limit: int = 100
