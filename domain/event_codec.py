"""Encodes and decodes events as the log stores them: canonical JSON, by a closed registry of topics.

Promises: the bytes of an event are the same on every machine. A decoded event has passed the same checks as a new one.
Older class versions are brought to the present one, so every released event stays readable for ever. An event can be
encoded in the members of an earlier form of events, for nodes of an earlier release.
Refuses: a topic that is not in the catalogue (a stored topic never decides what is imported), missing, unknown or
mistyped members, and an event in another stream than its own. The reason is a code; stored values are not repeated.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import get_type_hints
from uuid import UUID

from domain.audit.event_catalogue import BY_TOPIC, EVENT_FORM
from domain.credentials.credential import CredentialSealed
from domain.credentials.providers import CONFIG_FIELDS, CredentialConfig
from domain.credentials.secret import SealedSecret
from domain.errors import CredentialIntegrityError, StoreUnavailableError
from domain.events.event import Event, time_text
from domain.events.event_code import LogRow
from domain.events.event_definition import EventDefinition, Members, MembersChange

_Check = Callable[[object], object]

CLASS_VERSION = "class_version"
_SEALED = ("token", "binding", "key_id")
_PLACED = frozenset({"originator_id", "originator_version", "timestamp"})
_COMPOSED = frozenset({"sealed", "config", "set_at"})
"""Fields not stored as they are: the first set for every event, the second for `CredentialSealed`."""
_TEXT_FORM = r'"([^"\\\x00-\x1f]+)"'


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("text expected")
    if not value.isascii():
        value.encode()  # half a character, which an escape can state, has no bytes; raises a ValueError
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


_CHECKS: Mapping[object, _Check] = {str: _text, str | None: _optional_text, int: _count, float: _seconds}
"""By the type of a field, the check for its stored member. A field of any other type fails the import."""


class _Plan:
    """The prepared steps of decoding one event type; a replay decodes millions of events.

    names: the fields whose values are stored unchanged.
    checks: by name, in canonical order, the check for each member.
    canonical: matches the canonical bytes of the present class version if all members would pass their checks, and
    captures the members. It matches less than JSON allows (no escapes, no white space), never more; anything else is
    parsed and checked member by member. None for event types with numbers.
    plain, time, node_time, sealing: pick the values of unchanged fields, the two times, and the fields of
    `CredentialSealed`.
    writers, sealed_writers: write values into the slots of an event. The constructor of a frozen data class does
    the same at three times the cost.
    """

    __slots__ = (
        "canonical",
        "checks",
        "event",
        "names",
        "node_time",
        "plain",
        "sealed_writers",
        "sealing",
        "time",
        "writers",
    )

    def __init__(self, event: type[Event]) -> None:
        self.event = event
        sealed = issubclass(event, CredentialSealed)
        types = get_type_hints(event)
        names = [
            field.name for field in fields(event) if field.name not in (_PLACED | _COMPOSED if sealed else _PLACED)
        ]
        checks = {name: _CHECKS[types[name]] for name in names} | {"timestamp": _text}
        if sealed:
            checks |= dict.fromkeys((*_SEALED, "set_at"), _text) | dict.fromkeys(CONFIG_FIELDS, _optional_text)
        self.names = names
        self.checks = dict(sorted(checks.items()))
        self.canonical = _canonical(self.checks, event.DEFINITION.class_version)
        place = {name: nth for nth, name in enumerate(self.checks)}
        self.plain = _picker([place[name] for name in names])
        self.time, self.node_time = place["timestamp"], place["node_time"]
        self.writers = _writers(event, ("originator_id", "originator_version", "timestamp", *names))
        self.sealing = _picker([place[name] for name in (*_SEALED, *CONFIG_FIELDS, "set_at")]) if sealed else None
        self.sealed_writers = _writers(event, ("sealed", "config", "set_at")) if sealed else ()


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


_PLANS: Mapping[str, _Plan] = {topic: _Plan(event) for topic, event in BY_TOPIC.items()}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_config = lru_cache(1 << 10)(CredentialConfig)
"""Most credentials share a few settings, and the objects are immutable."""


def encode(event: Event, form: int = EVENT_FORM) -> bytes:
    """Return the members of an event as canonical JSON in UTF-8: sorted, without white space.

    form: the newest form of events that may be written. Raises StoreUnavailableError where that has no such event.
    """
    members: Members = {name: getattr(event, name) for name in _PLANS[event.TOPIC].names}
    members["timestamp"] = time_text(event.timestamp)
    if isinstance(event, CredentialSealed):
        members |= {name: getattr(event.sealed, name) for name in _SEALED}
        members |= {name: getattr(event.config, name) for name in CONFIG_FIELDS}
        members["set_at"] = time_text(event.set_at)
    definition = event.DEFINITION
    version = definition.class_version
    if definition.newest_form > form:
        version, members = _downcast(definition, members, form)
    if version > 1:
        members[CLASS_VERSION] = version
    return _CANONICAL(members).encode()


def _downcast(definition: EventDefinition, members: Members, form: int) -> tuple[int, Members]:
    """Return the newest class version that a form of events has, and its members."""
    if definition.form > form:
        raise StoreUnavailableError(
            "A running node of an earlier release cannot read what this would record: try again when every node runs"
            " this release."
        )
    newer = [change for change in definition.changes if change.form > form]
    for change in reversed(newer):
        members = change.downcast(members)
    return definition.class_version - len(newer), members


def decode(originator_id: UUID, originator_version: int, topic: str, state: bytes) -> Event:
    """Return the event stored in a row of the log. Raises CredentialIntegrityError."""
    plan = _PLANS.get(topic)
    if plan is None:
        raise CredentialIntegrityError("event-topic-unknown")
    try:
        event = _event(plan, _values(plan, state), originator_id, originator_version)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CredentialIntegrityError("event-malformed") from None
    if originator_id.int != event.own_stream().int or originator_version < 1:
        raise CredentialIntegrityError("event-in-wrong-stream")
    return event


def event_of(row: LogRow) -> Event:
    """Return the event of a row of the log. Raises CredentialIntegrityError."""
    return decode(row.stream, row.version, row.topic, row.state)


def _values(plan: _Plan, state: bytes) -> tuple[object, ...]:
    """Return the checked values of all members, in canonical order."""
    text = state.decode()
    if plan.canonical is not None and (match := plan.canonical(text)) is not None:
        return match.groups()
    members = json.loads(text)
    if type(members) is not dict:
        raise ValueError("one object expected")
    members = _upcast(plan.event.DEFINITION.changes, members)
    if members.keys() != plan.checks.keys():
        raise ValueError("missing or unknown members")
    return tuple(check(members[name]) for name, check in plan.checks.items())


def _upcast(changes: Sequence[MembersChange], members: Members) -> Members:
    if not changes and CLASS_VERSION not in members:
        return members
    stored = members.pop(CLASS_VERSION, 1)
    if not isinstance(stored, int) or not 1 <= stored <= len(changes) + 1:
        raise ValueError("class version")
    for change in changes[stored - 1 :]:
        members = change.upcast(members)
    return members


def _event(plan: _Plan, values: tuple[object, ...], originator_id: UUID, originator_version: int) -> Event:
    stamp = values[plan.time]
    time = read_time(stamp)
    if values[plan.node_time] != stamp:
        read_time(values[plan.node_time])
    event: Event = object.__new__(plan.event)
    for write, value in zip(plan.writers, (originator_id, originator_version, time, *plan.plain(values)), strict=True):
        write(event, value)
    if plan.sealing is not None:
        token, binding, key_id, endpoint, api_version, deployment_name, set_at = plan.sealing(values)
        sealed = SealedSecret(token, binding, key_id)  # type: ignore[arg-type]  # texts, by their checks
        config = _config(endpoint, api_version, deployment_name)
        set_time = time if set_at == stamp else read_time(set_at)
        for write, value in zip(plan.sealed_writers, (sealed, config, set_time), strict=True):
            write(event, value)
    return event


def members_of(event: type[Event]) -> frozenset[str]:
    """Return the names of the stored members of an event type, in its present class version."""
    version = {CLASS_VERSION} if event.DEFINITION.class_version > 1 else set()
    return frozenset(_PLANS[event.TOPIC].checks) | version


def read_time(value: object) -> datetime:
    """Return the time of a text. Raises ValueError for any but the one spelling: leaves take the text as it is."""
    time = datetime.fromisoformat(value)  # type: ignore[arg-type]  # a text, by its check
    if time.tzinfo is not UTC or time_text(time) != value:
        raise ValueError("a time in another spelling")
    return time
