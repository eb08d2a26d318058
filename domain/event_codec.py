"""Events as the log stores them: a closed registry of topics, and canonical JSON.

Promises: the bytes of an event are the same on every machine; what `decode` returns has passed the same checks as a new
event; an old shape is brought to the present one by an upcaster, so every released event stays readable for ever.
Refuses: a topic that is not in the registry (a stored topic is never imported), missing, unknown or mistyped members,
an event whose stream does not belong to its tenant and provider. The reason is a code; stored values are not repeated.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from domain.credential import CredentialDeleted, CredentialEvent, CredentialSet, stream_id
from domain.errors import CredentialIntegrityError
from domain.providers import CONFIG_FIELDS, CredentialConfig
from domain.secret import SealedSecret

Members = dict[str, object]
Upcaster = Callable[[Members], Members]

CLASS_VERSION = "class_version"
REGISTRY: Mapping[str, type[CredentialEvent]] = {event.TOPIC: event for event in (CredentialSet, CredentialDeleted)}
UPCASTERS: Mapping[str, tuple[Upcaster, ...]] = {}
"""By topic, what turns the members of class version 1 into those of 2, of 2 into 3, and so on."""

_ENVELOPE = ("tenant_id", "provider", "actor", "request_id", "command_id")
_SEALED = ("token", "binding", "key_id")


def encode(event: CredentialEvent) -> bytes:
    """Return the members of an event as canonical JSON in UTF-8: sorted, without white space."""
    members: Members = {name: getattr(event, name) for name in _ENVELOPE}
    members["timestamp"] = _time_text(event.timestamp)
    if isinstance(event, CredentialSet):
        members |= {name: getattr(event.sealed, name) for name in _SEALED}
        members |= {name: getattr(event.config, name) for name in CONFIG_FIELDS}
        members |= {"masked_key": event.masked_key, "set_at": _time_text(event.set_at)}
    if upcasters := UPCASTERS.get(event.TOPIC):
        members[CLASS_VERSION] = len(upcasters) + 1
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(originator_id: UUID, originator_version: int, topic: str, state: bytes) -> CredentialEvent:
    """Return the event that a row of the log holds. Raises CredentialIntegrityError."""
    if topic not in REGISTRY:
        raise CredentialIntegrityError("event-topic-unknown")
    try:
        members = json.loads(state)
        event = _build(topic, _upcast(topic, members), originator_id, originator_version)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CredentialIntegrityError("event-malformed") from None
    if originator_id != stream_id(event.tenant_id, event.provider) or originator_version < 1:
        raise CredentialIntegrityError("event-in-wrong-stream")
    return event


def _upcast(topic: str, members: Members) -> Members:
    stored = members.pop(CLASS_VERSION, 1)
    upcasters = UPCASTERS.get(topic, ())
    if not isinstance(stored, int) or not 1 <= stored <= len(upcasters) + 1:
        raise ValueError("class version")
    for upcaster in upcasters[stored - 1 :]:
        members = upcaster(members)
    return members


def _build(topic: str, members: Members, originator_id: UUID, originator_version: int) -> CredentialEvent:
    taken = dict(members)
    values: dict[str, object] = {name: _text(taken.pop(name)) for name in _ENVELOPE}
    values |= {
        "originator_id": originator_id,
        "originator_version": originator_version,
        "timestamp": _time(taken.pop("timestamp")),
    }
    if REGISTRY[topic] is CredentialSet:
        values["sealed"] = SealedSecret(*(_text(taken.pop(name)) for name in _SEALED))
        values["config"] = CredentialConfig(*(_optional_text(taken.pop(name)) for name in CONFIG_FIELDS))
        values["masked_key"] = _text(taken.pop("masked_key"))
        values["set_at"] = _time(taken.pop("set_at"))
    if taken:
        raise ValueError("unknown members")
    return REGISTRY[topic](**values)  # type: ignore[arg-type]  # every member was checked above


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("text expected")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_text(value))
    if time.utcoffset() is None:
        raise ValueError("time without a zone")
    return time.astimezone(UTC)


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
