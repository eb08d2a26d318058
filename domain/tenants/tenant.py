"""A tenant as the operator sees it, as a decider: its state, its events, and the functions that connect them.

Promises: a tenant's stream is known by its id. Every event carries what decides about calls, so the last event of a
stream says whether the tenant is frozen, whether it is registered, and its policy. Name and labels are personal, so the
log holds them sealed, in `TenantRegistered` alone. A command that changes nothing makes no event.
A tenant without an event is neither frozen nor registered, and has the default policy.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, TypedDict
from uuid import UUID, uuid5

from domain.errors import ErrorCode, UnresolvableError
from domain.events.event import CommandMeta, Event, EventEnvelope, envelope, time_text
from domain.events.event_definition import (
    DEACTIVATE,
    OTHER,
    UPDATE,
    ActionDefinition,
    EventDefinition,
    OcsfActivity,
    Subject,
)
from domain.tenants.policy import DEFAULT_POLICY, TenantPolicy

_STREAMS = UUID("c1f0a6d8-2b47-5e93-8d15-60e7b9a4f21c")
_YES, _NO = "yes", "no"
_FLAGS = {_YES: True, _NO: False}


@lru_cache(1 << 16)
def tenant_stream(tenant_id: str) -> UUID:
    """Return the stream of the operator's rules for a tenant."""
    return uuid5(_STREAMS, tenant_id)


@dataclass(frozen=True, slots=True)
class Profile:
    """The name of a tenant and its labels, for people to find it by."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tenant:
    """The state of a tenant at one version; 0 where there is no event. frozen_at: None unless it is frozen."""

    tenant_id: str
    version: int = 0
    policy: TenantPolicy = DEFAULT_POLICY
    registered: bool = False
    frozen_at: datetime | None = None
    changed_at: datetime | None = None

    def require_free(self) -> None:
        """Raise UnresolvableError while the tenant is frozen."""
        if self.frozen_at is not None:
            since = time_text(self.frozen_at)
            raise UnresolvableError(
                ErrorCode.TENANT_FROZEN,
                f"This tenant is frozen since {since}: its calls and changes are refused. Ask an operator to thaw it.",
            )

    def require_usable(self, *, registration_required: bool) -> None:
        """Raise UnresolvableError while the tenant is frozen, or lacks a registration that is required."""
        self.require_free()
        if registration_required and not self.registered:
            raise UnresolvableError(
                ErrorCode.TENANT_NOT_REGISTERED,
                "This tenant is not registered (TENANTS_REGISTERED=required). An operator can register it with"
                f" PUT /api/v1/sysadmin/tenants/{self.tenant_id}.",
            )


@lru_cache(1 << 16)
def unknown_tenant(tenant_id: str) -> Tenant:
    """Return the state of a tenant without an event."""
    return Tenant(tenant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantEvent(Event):
    """An event of a tenant, with everything that decides about its calls.

    registered, own_endpoints, fallback, key_check: `yes` or `no`. providers: with spaces between names; None for all.
    frozen_at: a time; None where the tenant is not frozen.
    """

    tenant_id: str
    registered: str
    frozen_at: str | None = None
    providers: str | None = None
    own_endpoints: str
    fallback: str
    key_check: str

    def own_stream(self) -> UUID:
        """Return the stream of the tenant."""
        return tenant_stream(self.tenant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRegistered(TenantEvent):
    """A tenant was registered, or its name or labels were changed. labels: a JSON object of texts, sorted by name."""

    TOPIC: ClassVar[str] = "TenantRegistered"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.TENANT,
        ActionDefinition("tenant-registered", "a tenant is registered, or its name or labels are changed", UPDATE),
        of_tenant=("tenant_name", "labels"),
    )
    tenant_name: str
    labels: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPolicyChanged(TenantEvent):
    """The operator's policy for a tenant was changed."""

    TOPIC: ClassVar[str] = "TenantPolicyChanged"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.TENANT,
        ActionDefinition("tenant-policy-changed", "the operator's policy for a tenant is changed", UPDATE),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFrozen(TenantEvent):
    """All calls and changes of a tenant were stopped."""

    TOPIC: ClassVar[str] = "TenantFrozen"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.TENANT,
        ActionDefinition("tenant-frozen", "all calls and changes of a tenant are stopped", DEACTIVATE),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantThawed(TenantEvent):
    """A frozen tenant may make calls and changes again."""

    TOPIC: ClassVar[str] = "TenantThawed"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.TENANT,
        ActionDefinition(
            "tenant-thawed", "a frozen tenant may make calls and changes again", OcsfActivity(OTHER, "Thaw")
        ),
    )


def evolve(event: TenantEvent) -> Tenant:
    """Return the state after an event. Raises ValueError or KeyError for a member in another spelling than ours."""
    return Tenant(
        event.tenant_id,
        event.originator_version,
        TenantPolicy(
            None if event.providers is None else tuple(event.providers.split(" ")),
            _FLAGS[event.own_endpoints],
            _FLAGS[event.fallback],
            _FLAGS[event.key_check],
        ),
        _FLAGS[event.registered],
        None if event.frozen_at is None else datetime.fromisoformat(event.frozen_at),
        event.timestamp,
    )


def profile_of(name: str, labels: str | None) -> Profile:
    """Return the profile that the opened members of a `TenantRegistered` say. Raises ValueError."""
    return Profile(name, json.loads(labels) if labels is not None else {})


def register(
    state: Tenant, known: Profile | None, profile: Profile, meta: CommandMeta, now: datetime
) -> TenantRegistered | None:
    """Return the event that gives a tenant its profile; None if it has that. known: the present one, where readable."""
    if state.registered and known == profile:
        return None
    labels = json.dumps(dict(profile.labels), sort_keys=True, ensure_ascii=False) if profile.labels else None
    after = replace(state, registered=True)
    return TenantRegistered(**_envelope(after, meta, now), **_members(after), tenant_name=profile.name, labels=labels)


def change_policy(state: Tenant, policy: TenantPolicy, meta: CommandMeta, now: datetime) -> TenantPolicyChanged | None:
    """Return the event that gives a tenant another policy; None if it has that."""
    if policy == state.policy:
        return None
    after = replace(state, policy=policy)
    return TenantPolicyChanged(**_envelope(after, meta, now), **_members(after))


def freeze(state: Tenant, meta: CommandMeta, now: datetime) -> TenantFrozen | None:
    """Return the event that freezes a tenant; None if it is frozen."""
    if state.frozen_at is not None:
        return None
    after = replace(state, frozen_at=now)
    return TenantFrozen(**_envelope(after, meta, now), **_members(after))


def thaw(state: Tenant, meta: CommandMeta, now: datetime) -> TenantThawed | None:
    """Return the event that thaws a tenant; None if it is not frozen."""
    if state.frozen_at is None:
        return None
    after = replace(state, frozen_at=None)
    return TenantThawed(**_envelope(after, meta, now), **_members(after))


def _envelope(before: Tenant, meta: CommandMeta, now: datetime) -> EventEnvelope:
    return envelope(tenant_stream(before.tenant_id), before.version + 1, meta, now)


class _Members(TypedDict):
    tenant_id: str
    registered: str
    frozen_at: str | None
    providers: str | None
    own_endpoints: str
    fallback: str
    key_check: str


def _members(tenant: Tenant) -> _Members:
    policy = tenant.policy
    return {
        "tenant_id": tenant.tenant_id,
        "registered": _word(tenant.registered),
        "frozen_at": None if tenant.frozen_at is None else time_text(tenant.frozen_at),
        "providers": None if policy.providers is None else " ".join(policy.providers),
        "own_endpoints": _word(policy.own_endpoints),
        "fallback": _word(policy.fallback),
        "key_check": _word(policy.key_check),
    }


def _word(flag: bool) -> str:
    return _YES if flag else _NO
