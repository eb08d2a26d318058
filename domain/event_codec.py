"""Events as the log stores them: a closed registry of topics, and canonical JSON.

Promises: the bytes of an event are the same on every machine; what `decode` returns has passed the same checks as a new
event; an old shape is brought to the present one by an upcaster, so every released event stays readable for ever.
Refuses: a topic that is not in the registry (a stored topic is never imported), missing, unknown or mistyped members,
an event that is not in its own stream. The reason is a code; stored values are not repeated.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from domain.credential import (
    CredentialDeleted,
    CredentialEvent,
    CredentialReencrypted,
    CredentialSealed,
    CredentialSet,
    stream_id,
)
from domain.encryption_keys import (
    KEYRING_STREAM,
    EncryptionKeyIntroduced,
    EncryptionKeyRetired,
    KeyRotationCompleted,
    KeyRotationStarted,
)
from domain.errors import CredentialIntegrityError
from domain.event import Event
from domain.providers import CONFIG_FIELDS, CredentialConfig
from domain.secret import SealedSecret

Members = dict[str, object]
Upcaster = Callable[[Members], Members]

CLASS_VERSION = "class_version"
UPCASTERS: Mapping[str, tuple[Upcaster, ...]] = {}
"""By topic, what turns the members of class version 1 into those of 2, of 2 into 3, and so on."""

_ENVELOPE = ("actor", "request_id", "command_id")
_PLACE = ("tenant_id", "provider")
_SEALED = ("token", "binding", "key_id")


@dataclass(frozen=True, slots=True)
class _Shape:
    """The members of one kind of event besides the envelope."""

    event: type[Event]
    texts: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    seconds: tuple[str, ...] = ()


REGISTRY: Mapping[str, _Shape] = {
    shape.event.TOPIC: shape
    for shape in (
        _Shape(CredentialSet, _PLACE),
        _Shape(CredentialReencrypted, _PLACE),
        _Shape(CredentialDeleted, _PLACE),
        _Shape(EncryptionKeyIntroduced, ("key_id",)),
        _Shape(KeyRotationStarted, ("rotation_id", "key_id"), ("credentials",)),
        _Shape(KeyRotationCompleted, ("rotation_id", "key_id"), ("reencrypted", "skipped", "failed"), ("seconds",)),
        _Shape(EncryptionKeyRetired, ("key_id",), ("unrecoverable",)),
    )
}


def encode(event: Event) -> bytes:
    """Return the members of an event as canonical JSON in UTF-8: sorted, without white space."""
    shape = REGISTRY[event.TOPIC]
    names = (*_ENVELOPE, *shape.texts, *shape.counts, *shape.seconds)
    members: Members = {name: getattr(event, name) for name in names}
    members["timestamp"] = _time_text(event.timestamp)
    if isinstance(event, CredentialSealed):
        members |= {name: getattr(event.sealed, name) for name in _SEALED}
        members |= {name: getattr(event.config, name) for name in CONFIG_FIELDS}
        members |= {"masked_key": event.masked_key, "set_at": _time_text(event.set_at)}
    if upcasters := UPCASTERS.get(event.TOPIC):
        members[CLASS_VERSION] = len(upcasters) + 1
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(originator_id: UUID, originator_version: int, topic: str, state: bytes) -> Event:
    """Return the event that a row of the log holds. Raises CredentialIntegrityError."""
    shape = REGISTRY.get(topic)
    if shape is None:
        raise CredentialIntegrityError("event-topic-unknown")
    try:
        members = _upcast(topic, json.loads(state))
        event = _build(shape, members, originator_id, originator_version)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CredentialIntegrityError("event-malformed") from None
    if originator_id != _own_stream(event) or originator_version < 1:
        raise CredentialIntegrityError("event-in-wrong-stream")
    return event


def _own_stream(event: Event) -> UUID:
    return stream_id(event.tenant_id, event.provider) if isinstance(event, CredentialEvent) else KEYRING_STREAM


def _upcast(topic: str, members: Members) -> Members:
    stored = members.pop(CLASS_VERSION, 1)
    upcasters = UPCASTERS.get(topic, ())
    if not isinstance(stored, int) or not 1 <= stored <= len(upcasters) + 1:
        raise ValueError("class version")
    for upcaster in upcasters[stored - 1 :]:
        members = upcaster(members)
    return members


def _build(shape: _Shape, members: Members, originator_id: UUID, originator_version: int) -> Event:
    left = dict(members)
    taken = left.pop
    values: dict[str, object] = {name: _text(taken(name)) for name in (*_ENVELOPE, *shape.texts)}
    values |= {name: _count(taken(name)) for name in shape.counts}
    values |= {name: _seconds(taken(name)) for name in shape.seconds}
    values |= {
        "originator_id": originator_id,
        "originator_version": originator_version,
        "timestamp": _time(taken("timestamp")),
    }
    if issubclass(shape.event, CredentialSealed):
        values["sealed"] = SealedSecret(*(_text(taken(name)) for name in _SEALED))
        values["config"] = CredentialConfig(*(_optional_text(taken(name)) for name in CONFIG_FIELDS))
        values["masked_key"] = _text(taken("masked_key"))
        values["set_at"] = _time(taken("set_at"))
    if left:
        raise ValueError("unknown members")
    return shape.event(**values)  # type: ignore[arg-type]  # every member was checked above


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("text expected")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("count expected")
    return value


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("seconds expected")
    return float(value)


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_text(value))
    if time.utcoffset() is None:
        raise ValueError("time without a zone")
    return time.astimezone(UTC)


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
