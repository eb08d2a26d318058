"""An access key as a decider: its state, its events, and the functions that connect them with commands.

Promises: a key is known by its name, which is its stream, so two nodes never make two keys of one name. Every event
carries the whole state, so the last event of a stream *is* the key. Name and role of a token never change: another role
is another key. The log holds digests of tokens, never a token. A change that changes nothing makes no event.
Refuses: to make a key where a live one has the name, to change one that is revoked, an expiry in the past.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar, TypedDict
from uuid import UUID, uuid5

from domain.access.key_limits import WITH_BUDGETS, KeyLimits, limits_in, money_text
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS, Scope, names_of, stored_names
from domain.errors import ConflictError, ErrorCode, InvalidField, InvalidRequestError, NotFoundError
from domain.events.event import CommandMeta, Event, EventEnvelope, envelope, time_text
from domain.events.event_definition import (
    CREATE,
    DEACTIVATE,
    UPDATE,
    ActionDefinition,
    EventDefinition,
    Subject,
)

_STREAMS = UUID("5b7d2e90-43f1-5a6c-8e27-1c90d4a7b6f3")
OVERLAP_MAX = timedelta(days=30)
"""The longest time for which the token before a rotation may still be used."""
_DIGESTS = ("token_sha256", "previous_sha256")


def stream_of(name: str) -> UUID:
    """Return the stream of the key with a name. It is also the key's id."""
    return uuid5(_STREAMS, name)


@dataclass(frozen=True, slots=True)
class AccessTerms:
    """The parts of a key that may be changed. expires_at: in UTC; None for never."""

    scope: Scope = field(default_factory=Scope)
    limits: KeyLimits = field(default_factory=KeyLimits)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The state of a key at one version. digest: the SHA-256 of its token.

    previous: the digest of the token before the last rotation, usable until `previous_until`.
    """

    name: str
    role: Role
    version: int
    terms: AccessTerms
    digest: str = field(repr=False)
    previous: str | None = field(repr=False)
    previous_until: datetime | None
    revoked: bool
    changed_at: datetime

    @property
    def key_id(self) -> str:
        """The id, for as long as the name is in use."""
        return str(stream_of(self.name))

    def admits(self, digest: str, now: datetime) -> bool:
        """Whether a token of this digest is one of the key's that may be used now, besides revocation and expiry."""
        overlaps = self.previous_until is not None and now < self.previous_until
        return digest == self.digest or (overlaps and digest == self.previous)

    def is_expired(self, now: datetime) -> bool:
        """Whether the key has expired."""
        return self.terms.expires_at is not None and now >= self.terms.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyEvent(Event):
    """An event of an access key, with its whole state. access_key: its name. for_role: its role.

    token_sha256, previous_sha256: digests of its tokens. previous_until, expires_at: times. The other members are those
    of `Scope`, with spaces between values, and of `KeyLimits`.
    """

    access_key: str
    for_role: str
    tenants: str | None = None
    providers: str | None = None
    models: str | None = None
    surfaces: str | None = None
    native_routes: str | None = None
    networks: str | None = None
    expires_at: str | None = None
    requests_per_minute: int = 0
    concurrent_calls: int = 0
    tokens_per_day: int = 0
    spend_per_month: str | None = None
    token_sha256: str
    previous_sha256: str | None = None
    previous_until: str | None = None

    def own_stream(self) -> UUID:
        """Return the stream of the key."""
        return stream_of(self.access_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyCreated(AccessKeyEvent):
    """A key was made, for the first time or after one of its name was revoked."""

    TOPIC: ClassVar[str] = "AccessKeyCreated"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ACCESS_KEY,
        ActionDefinition("access-key-created", "an access key is created", CREATE),
        unseen=_DIGESTS,
        changes=WITH_BUDGETS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyChanged(AccessKeyEvent):
    """Scope, limits or expiry of a key were changed."""

    TOPIC: ClassVar[str] = "AccessKeyChanged"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ACCESS_KEY,
        ActionDefinition("access-key-changed", "scope, limits or expiry of an access key are changed", UPDATE),
        unseen=_DIGESTS,
        changes=WITH_BUDGETS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyRotated(AccessKeyEvent):
    """A key got another token."""

    TOPIC: ClassVar[str] = "AccessKeyRotated"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ACCESS_KEY,
        ActionDefinition("access-key-rotated", "an access key gets another token", UPDATE),
        unseen=_DIGESTS,
        changes=WITH_BUDGETS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyRevoked(AccessKeyEvent):
    """A key was revoked. It keeps its digests, so that its use afterwards is recorded with its name."""

    TOPIC: ClassVar[str] = "AccessKeyRevoked"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.ACCESS_KEY,
        ActionDefinition("access-key-revoked", "an access key is revoked", DEACTIVATE),
        removes=True,
        unseen=_DIGESTS,
        changes=WITH_BUDGETS,
    )


def evolve(event: AccessKeyEvent) -> AccessKey:
    """Return the state after an event. Raises ValueError for a role or a time in another spelling than ours."""
    scope = Scope(**{name: names_of(getattr(event, name)) for name in DIMENSIONS})
    return AccessKey(
        event.access_key,
        Role(event.for_role),
        event.originator_version,
        AccessTerms(scope, limits_in(event), _time(event.expires_at)),
        event.token_sha256,
        event.previous_sha256,
        _time(event.previous_until),
        isinstance(event, AccessKeyRevoked),
        event.timestamp,
    )


def create(
    state: AccessKey | None, name: str, role: Role, terms: AccessTerms, digest: str, meta: CommandMeta, now: datetime
) -> AccessKeyCreated:
    """Return the event that makes a key. Raises ConflictError, InvalidRequestError."""
    if state is not None and not state.revoked:
        raise ConflictError(ErrorCode.ACCESS_KEY_EXISTS, "An access key of this name exists. Revoke it, or rotate it.")
    _require_future(terms.expires_at, "expires_at", now)
    version = state.version + 1 if state is not None else 1
    new = AccessKey(name, role, version, terms, digest, None, None, False, now)
    return AccessKeyCreated(**_envelope(new, meta, now), **_members(new))


def change(state: AccessKey | None, terms: AccessTerms, meta: CommandMeta, now: datetime) -> AccessKeyChanged | None:
    """Return the event that gives a key other terms; None if they are the same.

    Raises NotFoundError, InvalidRequestError.
    """
    state = live(state)
    if terms == state.terms:
        return None
    if terms.expires_at != state.terms.expires_at:
        _require_future(terms.expires_at, "expires_at", now)
    changed = replace(state, version=state.version + 1, terms=terms)
    return AccessKeyChanged(**_envelope(changed, meta, now), **_members(changed))


def rotate(
    state: AccessKey | None, digest: str, old_token_until: datetime | None, meta: CommandMeta, now: datetime
) -> AccessKeyRotated:
    """Return the event that gives a key another token. old_token_until: None to end the former token at once.

    Raises NotFoundError, InvalidRequestError.
    """
    state = live(state)
    if old_token_until is not None:
        _require_future(old_token_until, "old_token_until", now)
        if old_token_until > now + OVERLAP_MAX:
            rule = f"must be at most {OVERLAP_MAX.days} days from now"
            raise InvalidRequestError([InvalidField("old_token_until", rule)])
    kept = state.digest if old_token_until is not None else None
    turned = replace(state, version=state.version + 1, digest=digest, previous=kept, previous_until=old_token_until)
    return AccessKeyRotated(**_envelope(turned, meta, now), **_members(turned))


def revoke(state: AccessKey | None, meta: CommandMeta, now: datetime) -> AccessKeyRevoked:
    """Return the event that revokes a key. Raises NotFoundError."""
    revoked = replace(live(state), revoked=True)
    revoked = replace(revoked, version=revoked.version + 1)
    return AccessKeyRevoked(**_envelope(revoked, meta, now), **_members(revoked))


def live(state: AccessKey | None) -> AccessKey:
    """Return a key that is not revoked. Raises NotFoundError."""
    if state is None or state.revoked:
        raise access_key_not_found()
    return state


def access_key_not_found() -> NotFoundError:
    """Return the error for a key that does not exist or is revoked."""
    return NotFoundError(ErrorCode.ACCESS_KEY_NOT_FOUND, "There is no access key of this name or id that is in use.")


def _require_future(time: datetime | None, field_name: str, now: datetime) -> None:
    if time is not None and time <= now:
        raise InvalidRequestError([InvalidField(field_name, "must be in the future")])


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time_text(time)


def _envelope(key: AccessKey, meta: CommandMeta, now: datetime) -> EventEnvelope:
    return envelope(stream_of(key.name), key.version, meta, now)


class _Members(TypedDict):
    access_key: str
    for_role: str
    tenants: str | None
    providers: str | None
    models: str | None
    surfaces: str | None
    native_routes: str | None
    networks: str | None
    expires_at: str | None
    requests_per_minute: int
    concurrent_calls: int
    tokens_per_day: int
    spend_per_month: str | None
    token_sha256: str
    previous_sha256: str | None
    previous_until: str | None


def _members(key: AccessKey) -> _Members:
    scope, limits = key.terms.scope, key.terms.limits
    return {
        "access_key": key.name,
        "for_role": key.role.value,
        "tenants": stored_names(scope.tenants),
        "providers": stored_names(scope.providers),
        "models": stored_names(scope.models),
        "surfaces": stored_names(scope.surfaces),
        "native_routes": stored_names(scope.native_routes),
        "networks": stored_names(scope.networks),
        "expires_at": _text(key.terms.expires_at),
        "requests_per_minute": limits.requests_per_minute,
        "concurrent_calls": limits.concurrent_calls,
        "tokens_per_day": limits.tokens_per_day,
        "spend_per_month": money_text(limits.spend_per_month),
        "token_sha256": key.digest,
        "previous_sha256": key.previous,
        "previous_until": _text(key.previous_until),
    }
