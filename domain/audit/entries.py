"""The audit in the words of its readers: one entry for each event, in log order, without any secret.

`facts_of` is the one place that says what an event tells an auditor; the audit trail and the transparency log both show
what it returns. It is a pure function of the event, so both can be computed again at any time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from domain.audit.catalogue import BY_ACTION, EVENTS, details_of
from domain.audit.events import Outcome
from domain.credentials.credential import CredentialSealed
from domain.credentials.providers import CONFIG_FIELDS, CredentialConfig
from domain.errors import ErrorCode, NotFoundError
from domain.event import Event
from domain.event_definition import Subject


class Action(StrEnum):
    """What was done: to a credential, to the encryption keys, to the whole log, or with the audit itself."""

    _ignore_ = "name"
    for name in BY_ACTION:
        vars()[name.replace("-", "_").upper()] = name


OF_A_CREDENTIAL = tuple(action for action in Action if BY_ACTION[action][0].subject is Subject.CREDENTIAL)
"""What happens to a credential; the rest is about requests, keys and the log."""

_ACTIONS: Mapping[type[Event], tuple[Action, Action]] = {
    event: (Action(event.DEFINITION.actions[0].name), Action(event.DEFINITION.actions[-1].name)) for event in EVENTS
}
"""By event type, what an event did where its stream had nothing, and where it had something."""
_NOTHING_THERE = frozenset({None, *(event.TOPIC for event in EVENTS if event.DEFINITION.removes)})


def action_of(event: Event, before: str | None) -> Action:
    """Return what `event` did to a stream whose event before it has the topic `before`. None: it is the first."""
    first, again = _ACTIONS[type(event)]
    return first if before in _NOTHING_THERE else again


_DETAILS: Mapping[type[Event], tuple[str, ...]] = {event: details_of(event) for event in EVENTS}

Details = Mapping[str, str | int | float]
_NONE: Details = {}
_NO_SETTINGS = CredentialConfig()
_SUCCESS, _FAILED = Outcome.SUCCESS.value, Outcome.FAILED.value


class Facts(NamedTuple):
    """What an event tells an auditor besides its envelope, its stream and its position."""

    outcome: str
    tenant_id: str | None
    provider: str | None
    masked_key: str | None
    key_id: str | None
    fingerprint: str | None
    details: Details


def facts_of(event: Event) -> Facts:
    """Return what `event` tells an auditor. No secret is among it, nor a digest of one that anybody could try."""
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
    """Return the settings that are set: where a key was sent from then on is as important as the key."""
    named = ((name, getattr(config, name)) for name in CONFIG_FIELDS)
    return {name: value for name, value in named if value is not None}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, to which credential, to the encryption keys or to the whole log, when, from where and why.

    position: place in the log. version: of the stream after it. tenant_id and provider are None for what was not done
    to a credential. masked_key, key_id and fingerprint are None where no key is concerned. details: numbers and ids
    that belong to the action alone.
    """

    position: int
    timestamp: datetime
    action: Action
    outcome: Outcome
    tenant_id: str | None
    provider: str | None
    version: int
    actor: str
    role: str
    source: str
    client_address: str | None
    reason: str | None
    request_id: str
    command_id: str
    masked_key: str | None
    key_id: str | None
    fingerprint: str | None
    details: Details


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries a reader wants. `since` is included, `until` is not.

    after, before: positions, neither included. newest_first: the order; oldest come first without it. texts: each is
    somewhere in the entry, whatever the case; so is `reason` in its reason. of_credential: only what happens to
    credentials.
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


class AuditTrail(Protocol):
    """Who did what when. Catches up with the log before it answers, so a reader sees every acknowledged write."""

    def entries(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        """Return the entries that fit, in the order of the log."""
        ...


def entry_not_found(position: int) -> NotFoundError:
    """Return the error for a position at which the log has no event."""
    return NotFoundError(ErrorCode.AUDIT_ENTRY_NOT_FOUND, f"There is no audit entry at position {position}.")
