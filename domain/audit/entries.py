"""Audit entries: one for each event, in the order of the log, without any secret.

`facts_of` alone decides which facts of an event auditors see; the audit trail and the transparency log both show them.
It is a pure function of the event, so both can be replayed at any time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from domain.audit.event_catalogue import BY_ACTION, EVENTS, details_of
from domain.audit.request_events import Outcome
from domain.credentials.credential import CredentialSealed
from domain.credentials.providers import CONFIG_FIELDS, CredentialConfig
from domain.errors import ErrorCode, NotFoundError
from domain.events.event import Event
from domain.events.event_definition import Subject


class Action(StrEnum):
    """The action of an entry: on a credential, on the encryption keys, on the whole log, or on the audit itself."""

    _ignore_ = "name"
    for name in BY_ACTION:
        vars()[name.replace("-", "_").upper()] = name


OF_A_CREDENTIAL = tuple(action for action in Action if BY_ACTION[action][0].subject is Subject.CREDENTIAL)
"""The actions on credentials; the others are about requests, keys and the log."""

_ACTIONS: Mapping[type[Event], tuple[Action, Action]] = {
    event: (Action(event.DEFINITION.actions[0].name), Action(event.DEFINITION.actions[-1].name)) for event in EVENTS
}
"""By event type, the action of an event whose stream held nothing, and of one whose stream held something."""
_NOTHING_THERE = frozenset({None, *(event.TOPIC for event in EVENTS if event.DEFINITION.removes)})


def action_of(event: Event, before: str | None) -> Action:
    """Return the action of `event`. before: the topic of the event before it in its stream; None if it is the first."""
    return action_by_type(type(event), before)


def action_by_type(event: type[Event], before: str | None) -> Action:
    """Return the action of an event of a type, as `action_of` does."""
    first, again = _ACTIONS[event]
    return first if before in _NOTHING_THERE else again


_DETAILS: Mapping[type[Event], tuple[str, ...]] = {event: details_of(event) for event in EVENTS}

Details = Mapping[str, str | int | float]
_NONE: Details = {}
_NO_SETTINGS = CredentialConfig()
_SUCCESS, _FAILED = Outcome.SUCCESS.value, Outcome.FAILED.value


class Facts(NamedTuple):
    """The facts of an event for auditors, besides its common members, its stream and its position."""

    outcome: str
    tenant_id: str | None
    provider: str | None
    masked_key: str | None
    key_id: str | None
    fingerprint: str | None
    details: Details


def facts_of(event: Event) -> Facts:
    """Return the facts of `event` for auditors. They hold no secret, and no digest that would let one be guessed."""
    if isinstance(event, CredentialSealed):
        return Facts(
            _SUCCESS,
            event.tenant_id,
            event.provider,
            event.masked_key,
            event.sealed.key_id,
            event.fingerprint,
            _NONE if event.config == _NO_SETTINGS else _settings(event.config),
        )
    named = ((name, getattr(event, name)) for name in _DETAILS[type(event)])
    outcome = _FAILED if event.DEFINITION.failed else getattr(event, "outcome", _SUCCESS)
    return Facts(
        outcome,
        getattr(event, "tenant_id", None),
        getattr(event, "provider", None),
        None,
        getattr(event, "key_id", None),
        None,
        {name: value for name, value in named if value is not None},
    )


def _settings(config: CredentialConfig) -> Details:
    """Return the settings that are set. The address a key is sent to matters as much as the key."""
    named = ((name, getattr(config, name)) for name in CONFIG_FIELDS)
    return {name: value for name, value in named if value is not None}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry: the action, its subject, the caller, the time, the place and the reason.

    position: in the log, from 1. version: of the stream after the event. tenant_id, provider: None if the event is not
    about a credential. causation_id: the command id of what caused the command. node_time: as the clock of the node
    that wrote the event told it; `timestamp` never goes back. masked_key, key_id, fingerprint: None if no key is
    concerned. details: the members that only events of this action have. erased: the names of members whose key is
    destroyed or lost; they have no value, and those of `details` are missing there.
    """

    position: int
    timestamp: datetime
    action: Action
    outcome: Outcome
    tenant_id: str | None
    provider: str | None
    version: int
    actor: str | None
    role: str
    source: str
    client_address: str | None
    reason: str | None
    request_id: str
    command_id: str
    causation_id: str | None
    node_time: datetime
    masked_key: str | None
    key_id: str | None
    fingerprint: str | None
    details: Details
    erased: tuple[str, ...] = ()

    def contains(self, text: str) -> bool:
        """Say whether a text occurs anywhere in the entry, in any letter case."""
        members = (
            *(self.action, self.actor, self.role, self.source, self.client_address, self.reason, self.request_id),
            *(
                self.command_id,
                self.causation_id,
                self.tenant_id,
                self.provider,
                self.masked_key,
                self.key_id,
                self.fingerprint,
            ),
            json.dumps(dict(self.details), ensure_ascii=False),
        )
        return text.lower() in " ".join(member for member in members if member is not None).lower()


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """The entries to read.

    since, until: times; `since` is included, `until` is not. after, before: positions, neither included. newest_first:
    the order; otherwise oldest first. texts: each must occur anywhere in the entry, in any letter case; `reason` must
    occur in its reason. of_credential: only actions on credentials.
    """

    tenant_id: str | None = None
    provider: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    limit: int = 100
    action: Action | None = None
    outcome: Outcome | None = None
    key_id: str | None = None
    fingerprint: str | None = None
    texts: tuple[str, ...] = ()
    reason: str | None = None
    before: int | None = None
    newest_first: bool = False
    of_credential: bool = False

    @property
    def looks_inside(self) -> bool:
        """Whether members have to be opened to find the entries."""
        return bool(self.texts) or self.reason is not None or self.fingerprint is not None

    def fits_inside(self, entry: AuditEntry) -> bool:
        """Say whether an entry, with its members opened, matches what the filter asks of such members."""
        return (
            self.fingerprint in {None, entry.fingerprint}
            and (self.reason is None or self.reason.lower() in (entry.reason or "").lower())
            and all(map(entry.contains, self.texts))
        )


class FoundEntries(NamedTuple):
    """Entries that match. following: the position from which the search continues; None where it has ended."""

    entries: Sequence[AuditEntry]
    following: int | None


class AuditTrail(Protocol):
    """The audit entries. Catches up with the log before each answer, so a reader sees every acknowledged write."""

    def page(self, wanted: AuditFilter) -> FoundEntries:
        """Return the entries that match, in the order of the filter.

        There may be fewer than the limit, even none, although the search has not ended: a page looks at a bounded
        number of entries.
        """
        ...


def entry_not_found(position: int) -> NotFoundError:
    """Return the error for a position at which the log has no event."""
    return NotFoundError(ErrorCode.AUDIT_ENTRY_NOT_FOUND, f"There is no audit entry at position {position}.")
