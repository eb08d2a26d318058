"""Events as the log stores them: a closed registry of topics, and canonical JSON.

Promises: the bytes of an event are the same on every machine; what `decode` returns has passed the same checks as a new
event; an old shape is brought to the present one by an upcaster, so every released event stays readable for ever.
Refuses: a topic that is not in the registry (a stored topic is never imported), missing, unknown or mistyped members,
an event that is not in its own stream. The reason is a code; stored values are not repeated.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from uuid import UUID

from domain.audit.events import (
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
from domain.credentials.credential import (
    CredentialDeleted,
    CredentialEvent,
    CredentialReencrypted,
    CredentialSealed,
    CredentialSet,
    stream_id,
)
from domain.credentials.providers import CONFIG_FIELDS, CredentialConfig
from domain.credentials.secret import SealedSecret
from domain.errors import CredentialIntegrityError
from domain.event import Event
from domain.operations.encryption_keys import (
    KEYRING_STREAM,
    EncryptionKeyIntroduced,
    EncryptionKeyRetired,
    KeyringEvent,
    KeyRotationCompleted,
    KeyRotationStarted,
)
from domain.operations.restore import RESTORE_STREAM, RestoreAccepted
from domain.upcasting import UPCASTERS, Members

_Check = Callable[[object], object]

CLASS_VERSION = "class_version"
_ENVELOPE = ("actor", "role", "source", "request_id", "command_id")
_ENVELOPE_OPTIONAL = ("client_address", "reason")
_PLACE = ("tenant_id", "provider")
_SEALED = ("token", "binding", "key_id")
_TIMES = {"timestamp", "set_at"}
_TEXT_FORM = r'"([^"\\\x00-\x1f]+)"'


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


class _Plan:
    """How `decode` reads one kind of event, worked out once: a replay decodes millions.

    checks: by name, in the order of the canonical form, what a member must pass.
    canonical: matches the canonical bytes of the present shape if all members would pass their checks, and gives them.
    It is narrower than JSON (no escape, no white space), never wider: what it does not match is parsed and checked one
    by one. None where there are numbers.
    plain, time, sealing: pick the values that fields take as they are, the timestamp, and those of `CredentialSealed`.
    writers, sealed_writers: write them into the slots of an event, which is all the constructor of a frozen data class
    does, at a third of its cost.
    """

    __slots__ = ("canonical", "checks", "event", "plain", "sealed_writers", "sealing", "time", "writers")

    def __init__(self, shape: _Shape) -> None:
        self.event = shape.event
        sealed = issubclass(shape.event, CredentialSealed)
        checks: dict[str, _Check] = dict.fromkeys((*_ENVELOPE, "timestamp", *shape.texts), _text)
        checks |= dict.fromkeys((*_ENVELOPE_OPTIONAL, *shape.optional), _optional_text)
        if sealed:
            checks |= dict.fromkeys((*_SEALED, "masked_key", "set_at"), _text) | dict.fromkeys(
                (*CONFIG_FIELDS, "fingerprint"), _optional_text
            )
        checks |= dict.fromkeys(shape.counts, _count) | dict.fromkeys(shape.seconds, _seconds)
        self.checks = dict(sorted(checks.items()))
        self.canonical = _canonical(self.checks, len(UPCASTERS.get(shape.event.TOPIC, ())) + 1)
        place = {name: nth for nth, name in enumerate(self.checks)}
        names = [field.name for field in fields(shape.event) if field.name in place and field.name not in _TIMES]
        self.plain, self.time = _picker([place[name] for name in names]), place["timestamp"]
        self.writers = _writers(shape.event, ("originator_id", "originator_version", "timestamp", *names))
        self.sealing = _picker([place[name] for name in (*_SEALED, *CONFIG_FIELDS, "set_at")]) if sealed else None
        self.sealed_writers = _writers(shape.event, ("sealed", "config", "set_at")) if sealed else ()


def _canonical(checks: Mapping[str, _Check], version: int) -> Callable[[str], re.Match[str] | None] | None:
    forms: Mapping[_Check, str] = {_text: _TEXT_FORM, _optional_text: f"(?:null|{_TEXT_FORM})"}
    if not forms.keys() >= set(checks.values()):
        return None
    members = {name: forms[check] for name, check in checks.items()} | (
        {CLASS_VERSION: str(version)} if version > 1 else {}
    )
    return re.compile("{" + ",".join(f'"{name}":{form}' for name, form in sorted(members.items())) + "}").fullmatch


def _picker(places: Sequence[int]) -> Callable[[tuple[object, ...]], tuple[object, ...]]:
    return itemgetter(*places) if len(places) > 1 else lambda values: tuple(values[place] for place in places)


def _writers(event: type[Event], names: Iterable[str]) -> tuple[Callable[[Event, object], None], ...]:
    return tuple(getattr(event, name).__set__ for name in names)


_PLANS: Mapping[str, _Plan] = {topic: _Plan(shape) for topic, shape in REGISTRY.items()}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
STREAMS_KEPT = 1 << 16
_stream_of = lru_cache(STREAMS_KEPT)(stream_id)
"""A stream's id costs as much to compute as the rest of the check; a replay meets each stream many times."""
_config = lru_cache(1 << 10)(CredentialConfig)
"""Most credentials have the same few settings, and the objects do not change."""


def encode(event: Event) -> bytes:
    """Return the members of an event as canonical JSON in UTF-8: sorted, without white space."""
    shape = REGISTRY[event.TOPIC]
    names = (*_ENVELOPE, *_ENVELOPE_OPTIONAL, *shape.texts, *shape.counts, *shape.seconds, *shape.optional)
    members: Members = {name: getattr(event, name) for name in names}
    members["timestamp"] = _time_text(event.timestamp)
    if isinstance(event, CredentialSealed):
        members |= {name: getattr(event.sealed, name) for name in _SEALED}
        members |= {name: getattr(event.config, name) for name in CONFIG_FIELDS}
        members |= {
            "masked_key": event.masked_key,
            "fingerprint": event.fingerprint,
            "set_at": _time_text(event.set_at),
        }
    if upcasters := UPCASTERS.get(event.TOPIC):
        members[CLASS_VERSION] = len(upcasters) + 1
    return _CANONICAL(members).encode()


def decode(originator_id: UUID, originator_version: int, topic: str, state: bytes) -> Event:
    """Return the event that a row of the log holds. Raises CredentialIntegrityError."""
    plan = _PLANS.get(topic)
    if plan is None:
        raise CredentialIntegrityError("event-topic-unknown")
    try:
        event = _event(plan, _values(plan, state), originator_id, originator_version)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CredentialIntegrityError("event-malformed") from None
    if originator_id.int != _own_stream(event).int or originator_version < 1:
        raise CredentialIntegrityError("event-in-wrong-stream")
    return event


def _values(plan: _Plan, state: bytes) -> tuple[object, ...]:
    """Return the values of all members, checked, in the order of the canonical form."""
    text = state.decode()
    if plan.canonical is not None and (match := plan.canonical(text)) is not None:
        return match.groups()
    members = json.loads(text)
    if type(members) is not dict:
        raise ValueError("one object expected")
    members = _upcast(plan.event.TOPIC, members)
    if members.keys() != plan.checks.keys():
        raise ValueError("missing or unknown members")
    return tuple(check(members[name]) for name, check in plan.checks.items())


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


def _event(plan: _Plan, values: tuple[object, ...], originator_id: UUID, originator_version: int) -> Event:
    stamp = values[plan.time]
    time = _time(stamp)
    event: Event = object.__new__(plan.event)
    for write, value in zip(plan.writers, (originator_id, originator_version, time, *plan.plain(values)), strict=True):
        write(event, value)
    if plan.sealing is not None:
        token, binding, key_id, endpoint, api_version, deployment_name, set_at = plan.sealing(values)
        sealed = SealedSecret(token, binding, key_id)  # type: ignore[arg-type]  # texts, by their checks
        config = _config(endpoint, api_version, deployment_name)
        set_time = time if set_at == stamp else _time(set_at)
        for write, value in zip(plan.sealed_writers, (sealed, config, set_time), strict=True):
            write(event, value)
    return event


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(value)  # type: ignore[arg-type]  # a text, by the checks of `_build`
    if time.tzinfo is UTC:
        return time
    if time.utcoffset() is None:
        raise ValueError("time without a zone")
    return time.astimezone(UTC)


def _time_text(time: datetime) -> str:
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(timespec="microseconds")
