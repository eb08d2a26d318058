"""The audit trail in the words of its readers: one entry for each event, in log order, without any secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Action(StrEnum):
    """What was done to a credential, to the encryption keys, or to the whole log."""

    SET = "set"
    REPLACED = "replaced"
    DELETED = "deleted"
    REENCRYPTED = "reencrypted"
    KEY_INTRODUCED = "key-introduced"
    ROTATION_STARTED = "rotation-started"
    ROTATION_COMPLETED = "rotation-completed"
    KEY_RETIRED = "key-retired"
    RESTORE_ACCEPTED = "restore-accepted"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, to which credential, to the encryption keys or to the whole log, and when.

    position: place in the log. version: of the stream after it. tenant_id and provider are None for what was not done
    to a credential. masked_key and key_id are None for a deletion. details: numbers and ids that belong to the action
    alone.
    """

    position: int
    timestamp: datetime
    action: Action
    tenant_id: str | None
    provider: str | None
    version: int
    actor: str
    request_id: str
    command_id: str
    masked_key: str | None
    key_id: str | None
    details: Mapping[str, str | int | float]


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
