"""Events as the log stores them: a closed registry of topics, and canonical JSON.

Promises: the bytes of an event are the same on every machine; what `decode` returns has passed the same checks as a new
event; an old shape is brought to the present one by an upcaster, so every released event stays readable for ever.
Refuses: a topic that is not in the registry (a stored topic is never imported), missing, unknown or mistyped members,
an event that is not in its own stream. The reason is a code; stored values are not repeated.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from domain.audit_events import (
    POLICY_STREAM,
    AcceptanceEvent,
    AuditExported,
    AuditRead,
    CredentialRecovered,
    CredentialRejected,
    PolicyChanged,
    ProjectionReplayed,
    RequestRefused,
    acceptance_stream,
    record_stream,
)
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
    KeyringEvent,
    KeyRotationCompleted,
    KeyRotationStarted,
)
from domain.errors import CredentialIntegrityError
from domain.event import Event
from domain.providers import CONFIG_FIELDS, CredentialConfig
from domain.restore import RESTORE_STREAM, RestoreAccepted
from domain.secret import SealedSecret
from domain.upcasting import UPCASTERS, Members

CLASS_VERSION = "class_version"

_ENVELOPE = ("actor", "role", "source", "request_id", "command_id")
_ENVELOPE_OPTIONAL = ("client_address", "reason")
_PLACE = ("tenant_id", "provider")
_SEALED = ("token", "binding", "key_id")


@dataclass(frozen=True, slots=True)
class _Shape:
    """The members of one kind of event besides the envelope."""

    event: type[Event]
    texts: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    seconds: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


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
        _Shape(RestoreAccepted, counts=("from_position", "to_position")),
        _Shape(RequestRefused, ("outcome", "method", "route", "code"), ("status", "count"), optional=_PLACE),
        _Shape(AuditRead, ("view",), ("count",), optional=("query",)),
        _Shape(AuditExported, ("format",), optional=("query",)),
        _Shape(CredentialRejected, _PLACE, ("credential_version",)),
        _Shape(CredentialRecovered, _PLACE, ("credential_version",)),
        _Shape(ProjectionReplayed, ("projection", "result"), ("replayed_to", "rows", "differences")),
        _Shape(PolicyChanged, ("tenant_credentials", "global_fallback")),
    )
}


def _texts_of(shape: _Shape) -> tuple[str, ...]:
    sealed = (*_SEALED, "masked_key", "set_at") if issubclass(shape.event, CredentialSealed) else ()
    return (*_ENVELOPE, "timestamp", *shape.texts, *sealed)


_WITH_SECRET = frozenset(topic for topic, shape in REGISTRY.items() if issubclass(shape.event, CredentialSealed))
_TEXT_ONLY = {str}
_TEXT_OR_NONE = ({str}, {type(None)}, {str, type(None)})
_TEXTS: Mapping[str, tuple[str, ...]] = {topic: _texts_of(shape) for topic, shape in REGISTRY.items()}
"""By topic, the members that are texts and may not be empty."""
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    topic: (*_ENVELOPE_OPTIONAL, *shape.optional, *(("fingerprint",) if topic in _WITH_SECRET else ()))
    for topic, shape in REGISTRY.items()
}
"""By topic, the members that are such texts or null."""
_MEMBERS: Mapping[str, frozenset[str]] = {
    topic: frozenset(
        (
            *_TEXTS[topic],
            *_OPTIONAL[topic],
            *shape.counts,
            *shape.seconds,
            *(CONFIG_FIELDS if topic in _WITH_SECRET else ()),
        )
    )
    for topic, shape in REGISTRY.items()
}
"""By topic, the names of all members an event has."""

_JSON = json.JSONDecoder()
STREAMS_KEPT = 1 << 16
_stream_of = lru_cache(STREAMS_KEPT)(stream_id)
"""A stream's id costs as much to compute as the rest of the check; a replay meets each stream many times."""


def encode(event: Event) -> bytes:
    """Return the members of an event as canonical JSON in UTF-8: sorted, without white space."""
    shape = REGISTRY[event.TOPIC]
    names = (*_ENVELOPE, *shape.texts, *shape.counts, *shape.seconds, *_OPTIONAL[event.TOPIC])
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
        members = _upcast(topic, _parse(state))
        event = _build(shape, members, originator_id, originator_version)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CredentialIntegrityError("event-malformed") from None
    if originator_id.int != _own_stream(event).int or originator_version < 1:
        raise CredentialIntegrityError("event-in-wrong-stream")
    return event


def _parse(state: bytes) -> Members:
    text = state.decode().strip(" \t\r\n")
    members, end = _JSON.raw_decode(text)
    if end != len(text) or type(members) is not dict:
        raise ValueError("one object expected")
    return members


_SINGLE_STREAMS: Mapping[type[Event], UUID] = {RestoreAccepted: RESTORE_STREAM, PolicyChanged: POLICY_STREAM}


def _own_stream(event: Event) -> UUID:
    if isinstance(event, CredentialEvent):
        return _stream_of(event.tenant_id, event.provider)
    if isinstance(event, KeyringEvent):
        return KEYRING_STREAM
    if isinstance(event, AcceptanceEvent):
        return acceptance_stream(event.tenant_id, event.provider)
    return _SINGLE_STREAMS.get(type(event)) or record_stream(event.command_id)


def _upcast(topic: str, members: Members) -> Members:
    upcasters = UPCASTERS.get(topic, ())
    if not upcasters and CLASS_VERSION not in members:
        return members
    stored = members.pop(CLASS_VERSION, 1)
    if not isinstance(stored, int) or not 1 <= stored <= len(upcasters) + 1:
        raise ValueError("class version")
    for upcaster in upcasters[stored - 1 :]:
        members = upcaster(members)
    return members


def _build(shape: _Shape, members: Members, originator_id: UUID, originator_version: int) -> Event:
    topic = shape.event.TOPIC
    if members.keys() != _MEMBERS[topic]:
        raise ValueError("missing or unknown members")
    names = _TEXTS[topic]
    texts = [members[name] for name in names]
    # The checks of `_text` on all of them at once: a replay decodes millions.
    if set(map(type, texts)) != _TEXT_ONLY or "" in texts:
        raise TypeError("text expected")
    values: dict[str, object] = dict(zip(names, texts, strict=True))
    optional = _OPTIONAL[topic]
    rest = [members[name] for name in optional]
    if set(map(type, rest)) not in _TEXT_OR_NONE or "" in rest:
        raise TypeError("text or null expected")
    values.update(zip(optional, rest, strict=True))
    for name in shape.counts:
        values[name] = _count(members[name])
    for name in shape.seconds:
        values[name] = _seconds(members[name])
    values["originator_id"] = originator_id
    values["originator_version"] = originator_version
    values["timestamp"] = _time(values["timestamp"])
    if topic in _WITH_SECRET:
        values["sealed"] = SealedSecret(values.pop("token"), values.pop("binding"), values.pop("key_id"))  # type: ignore[arg-type]
        values["config"] = CredentialConfig(
            _optional_text(members["endpoint"]),
            _optional_text(members["api_version"]),
            _optional_text(members["deployment_name"]),
        )
        values["set_at"] = _time(values["set_at"])
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
    if time.tzinfo is UTC:
        return time
    if time.utcoffset() is None:
        raise ValueError("time without a zone")
    return time.astimezone(UTC)


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
