"""The life cycle of encryption keys, as events on a stream of their own, so that auditors can read it.

A key is introduced when a service first starts with it, becomes the target of rotations, and is retired at the end.
Events name a key by its id and never contain it.
Promises: a key is introduced once; a key is retired once, and only after it was introduced; a started rotation is
completed at most once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.errors import ConflictError, ErrorCode
from domain.events.event import CommandMeta, Event, EventEnvelope, envelope
from domain.events.event_definition import CREATE, DEACTIVATE, UPDATE, ActionDefinition, EventDefinition, Subject

KEYRING_STREAM = UUID("0d6c9c7e-6e0f-5b52-8d0a-3f2b6a1e9c41")
"""One stream for all keys of a ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringEvent(Event):
    """Something that happened to the encryption keys."""

    def own_stream(self) -> UUID:
        """Return the stream of the keyring."""
        return KEYRING_STREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKeyIntroduced(KeyringEvent):
    """A service started with a key that is new to the log, or was retired."""

    TOPIC: ClassVar[str] = "EncryptionKeyIntroduced"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ENCRYPTION_KEY,
        ActionDefinition(
            "key-introduced", "a service starts with an encryption key that is new to the log or was retired", CREATE
        ),
    )
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationStarted(KeyringEvent):
    """A rotation to `key_id` started. credentials: the number of credentials under other keys."""

    TOPIC: ClassVar[str] = "KeyRotationStarted"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ENCRYPTION_KEY,
        ActionDefinition("rotation-started", "a rotation to another encryption key starts", UPDATE),
    )
    rotation_id: str
    key_id: str
    credentials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationCompleted(KeyringEvent):
    """A rotation ended: no live credential that can be opened is left under another key.

    reencrypted, skipped, failed: numbers of credentials: sealed under `key_id`; changed or deleted in the meantime; and
    left unchanged because they cannot be opened.
    """

    TOPIC: ClassVar[str] = "KeyRotationCompleted"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ENCRYPTION_KEY,
        ActionDefinition("rotation-completed", "a rotation ends", UPDATE),
    )
    rotation_id: str
    key_id: str
    reencrypted: int
    skipped: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKeyRetired(KeyringEvent):
    """A key may be destroyed. unrecoverable: the number of old secrets in the log that become unreadable with it."""

    TOPIC: ClassVar[str] = "EncryptionKeyRetired"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ENCRYPTION_KEY,
        ActionDefinition("key-retired", "an operator retires an encryption key", DEACTIVATE),
    )
    key_id: str
    unrecoverable: int


@dataclass(frozen=True, slots=True)
class Keys:
    """The encryption keys in the log at one version of their stream, with their times in UTC."""

    version: int = 0
    introduced: dict[str, datetime] = field(default_factory=dict)
    retired: dict[str, datetime] = field(default_factory=dict)


def replay(events: Iterable[Event]) -> Keys:
    """Return the state after the events of the keyring's stream."""
    version, introduced, retired = 0, dict[str, datetime](), dict[str, datetime]()
    for event in events:
        version = event.originator_version
        if isinstance(event, EncryptionKeyIntroduced):
            introduced[event.key_id] = event.timestamp
            retired.pop(event.key_id, None)
        elif isinstance(event, EncryptionKeyRetired):
            retired[event.key_id] = event.timestamp
    return Keys(version, introduced, retired)


def introduce(
    keys: Keys, key_ids: Sequence[str], meta: CommandMeta, now: datetime, primary: str | None = None
) -> list[EncryptionKeyIntroduced]:
    """Return an event for each key that is new to the log, and for a retired `primary` that is in use again."""
    unknown = [
        key_id for key_id in key_ids if key_id not in keys.introduced or (key_id == primary and key_id in keys.retired)
    ]
    return [
        EncryptionKeyIntroduced(**_next(keys.version + nth, meta, now), key_id=key_id)
        for nth, key_id in enumerate(unknown, start=1)
    ]


def start_rotation(
    keys: Keys, rotation_id: str, key_id: str, credentials: int, meta: CommandMeta, now: datetime
) -> KeyRotationStarted:
    """Return the event that starts a rotation to `key_id`."""
    return KeyRotationStarted(
        **_next(keys.version + 1, meta, now), rotation_id=rotation_id, key_id=key_id, credentials=credentials
    )


@dataclass(frozen=True, slots=True)
class RotationCounts:
    """The numbers of credentials that a rotation re-encrypted, skipped, and failed to open."""

    reencrypted: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """The number of credentials processed."""
        return self.reencrypted + self.skipped + self.failed


def complete_rotation(
    keys: Keys, begun: KeyRotationStarted, counts: RotationCounts, meta: CommandMeta, now: datetime
) -> KeyRotationCompleted:
    """Return the event that ends a rotation."""
    return KeyRotationCompleted(
        **_next(keys.version + 1, meta, now),
        rotation_id=begun.rotation_id,
        key_id=begun.key_id,
        reencrypted=counts.reencrypted,
        skipped=counts.skipped,
        failed=counts.failed,
        seconds=round((now - begun.timestamp).total_seconds(), 3),
    )


def retire(keys: Keys, key_id: str, unrecoverable: int, meta: CommandMeta, now: datetime) -> EncryptionKeyRetired:
    """Return the event that retires a key. Raises ConflictError for a key that is unknown or already retired."""
    if key_id not in keys.introduced:
        raise key_not_retirable(["the log does not know a key of this id"])
    if key_id in keys.retired:
        raise key_not_retirable(["it is retired already"])
    return EncryptionKeyRetired(**_next(keys.version + 1, meta, now), key_id=key_id, unrecoverable=unrecoverable)


def _next(version: int, meta: CommandMeta, now: datetime) -> EventEnvelope:
    return envelope(KEYRING_STREAM, version, meta, now)


def key_not_retirable(reasons: Sequence[str]) -> ConflictError:
    """Return the error for a key that is still needed or unknown. reasons: one phrase each."""
    return ConflictError(ErrorCode.KEY_NOT_RETIRABLE, f"The key cannot be retired: {'; '.join(reasons)}.")
