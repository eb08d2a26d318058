"""Commands on tenants, and what administrators see of them: registration, policy, freezing.

Promises: when a command returns, the change is stored and every node obeys it. A command takes effect once, however
often its id is sent. One that changes nothing succeeds and leaves no event. Names and labels are read with the keys of
their members, so an erased tenant has none.
Refuses: names and labels that are malformed or hold an API key, and unknown providers in a policy.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.access.stream_commands import StreamCommand, StreamCommands, require_precondition
from domain.credentials.commands import Precondition
from domain.credentials.key_shapes import holds_key
from domain.errors import InvalidField, InvalidRequestError
from domain.events.event import Clock, CommandMeta
from domain.events.event_log import EventLog
from domain.tenants.policy import TenantPolicy
from domain.tenants.tenant import (
    Profile,
    Tenant,
    TenantEvent,
    TenantFrozen,
    TenantPolicyChanged,
    TenantRegistered,
    TenantThawed,
    change_policy,
    evolve,
    freeze,
    register,
    tenant_stream,
    thaw,
)

NAME_MAX = 200
LABELS_MAX = 32
LABEL_VALUE_MAX = 200
LABEL_NAME_PATTERN = "[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"
_LABEL_NAME = re.compile(LABEL_NAME_PATTERN)
_NO_KEY = "must not hold an API key: lists and the audit show it"


@dataclass(frozen=True, slots=True)
class KnownTenant:
    """A tenant as it is shown. profile: None unless it is registered and its name can be read."""

    tenant: Tenant
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class ChangedTenant:
    """A tenant after a command. changed: whether the command changed it."""

    known: KnownTenant
    changed: bool


class TenantList(Protocol):
    """The tenants of a ledger. Never behind the log. Raises StoreUnavailableError, CredentialIntegrityError."""

    def tenants(self, tenant_ids: Sequence[str]) -> Sequence[Tenant]:
        """Return the state of each tenant, in their order."""
        ...

    def profiles(self, tenant_ids: Sequence[str]) -> Mapping[str, Profile]:
        """Return the newest profile of each tenant that was registered and whose members can be opened, by id."""
        ...

    def profile_in(self, event: TenantRegistered) -> Profile | None:
        """Return the profile in a stored event; None where its members can no longer be opened."""
        ...


class Tenants:
    """Carries out commands and reads."""

    def __init__(self, log: EventLog, listed: TenantList, clock: Clock, providers: Collection[str]) -> None:
        """providers: the names of those that exist."""
        self._commands = StreamCommands(log, clock, TenantEvent, evolve, "tenant")
        self._listed = listed
        self._providers = providers

    def show(self, tenant_id: str) -> KnownTenant:
        """Return a tenant; one that no one has said anything about has version 0."""
        return self.all_of([tenant_id])[0]

    def all_of(self, tenant_ids: Sequence[str]) -> Sequence[KnownTenant]:
        """Return tenants in the order of their ids."""
        profiles = self._listed.profiles(tenant_ids)
        return [KnownTenant(one, profiles.get(one.tenant_id)) for one in self._listed.tenants(tenant_ids)]

    def state_of(self, tenant_id: str) -> Tenant:
        """Return the state of a tenant."""
        return self._listed.tenants([tenant_id])[0]

    def register(
        self, tenant_id: str, profile: Profile, meta: CommandMeta, precondition: Precondition
    ) -> ChangedTenant:
        """Give a tenant its name and labels. Raises InvalidRequestError, VersionConflictError."""
        _require_profile(profile)
        return self._carried_out(
            tenant_id,
            lambda state, now: register(state, self._profile_of(tenant_id), profile, meta, now),
            lambda event: isinstance(event, TenantRegistered) and self._listed.profile_in(event) in (None, profile),
            meta,
            precondition,
        )

    def change_policy(
        self, tenant_id: str, policy: TenantPolicy, meta: CommandMeta, precondition: Precondition
    ) -> ChangedTenant:
        """Give a tenant another policy. Raises InvalidRequestError, VersionConflictError."""
        if policy.providers is not None and not (policy.providers and set(policy.providers) <= set(self._providers)):
            rule = f"must be among {', '.join(sorted(self._providers))}; leave it out, or give null, for all"
            raise InvalidRequestError([InvalidField("providers", rule)])
        return self._carried_out(
            tenant_id,
            lambda state, now: change_policy(state, policy, meta, now),
            lambda event: isinstance(event, TenantPolicyChanged) and evolve(event).policy == policy,
            meta,
            precondition,
        )

    def freeze(self, tenant_id: str, meta: CommandMeta, precondition: Precondition) -> ChangedTenant:
        """Stop all calls and changes of a tenant. Raises VersionConflictError."""
        return self._carried_out(
            tenant_id,
            lambda state, now: freeze(state, meta, now),
            lambda event: isinstance(event, TenantFrozen),
            meta,
            precondition,
        )

    def thaw(self, tenant_id: str, meta: CommandMeta, precondition: Precondition) -> ChangedTenant:
        """End the freeze of a tenant. Raises VersionConflictError."""
        return self._carried_out(
            tenant_id,
            lambda state, now: thaw(state, meta, now),
            lambda event: isinstance(event, TenantThawed),
            meta,
            precondition,
        )

    def _carried_out(
        self,
        tenant_id: str,
        decide: Callable[[Tenant, datetime], TenantEvent | None],
        same: Callable[[TenantEvent], bool],
        meta: CommandMeta,
        precondition: Precondition,
    ) -> ChangedTenant:
        changed = True  # by an earlier request with this command id, where nothing is decided now

        def decided(state: Tenant | None, now: datetime) -> TenantEvent | None:
            nonlocal changed
            event = decide(state or Tenant(tenant_id), now)
            changed = event is not None
            return event

        def require(state: Tenant | None) -> None:
            version = state.version if state is not None else 0
            # Version 0 is a state like any other, so a precondition may name it.
            known = precondition.exists is None or version > 0
            require_precondition(precondition, version, known=known, what="tenant")

        command: StreamCommand[Tenant, TenantEvent] = StreamCommand(
            tenant_stream(tenant_id), decided, same, meta, require
        )
        tenant = self._commands.carry_out(command) or Tenant(tenant_id)
        profile = self._profile_of(tenant_id) if tenant.registered else None
        return ChangedTenant(KnownTenant(tenant, profile), changed)

    def _profile_of(self, tenant_id: str) -> Profile | None:
        return self._listed.profiles([tenant_id]).get(tenant_id)


def _require_profile(profile: Profile) -> None:
    if errors := list(_errors(profile)):
        raise InvalidRequestError(errors)


def _errors(profile: Profile) -> Iterator[InvalidField]:
    name, labels = profile.name, profile.labels
    if not (1 <= len(name) <= NAME_MAX and name.isprintable() and name == name.strip()):
        yield InvalidField("name", f"must be 1 to {NAME_MAX} printable characters, without spaces at either end")
    elif holds_key(name):
        yield InvalidField("name", _NO_KEY)
    if len(labels) > LABELS_MAX or not all(map(_LABEL_NAME.fullmatch, labels)):
        rule = f"must be at most {LABELS_MAX} names that fit {LABEL_NAME_PATTERN}, each with a text"
        yield InvalidField("labels", rule)
    elif not all(len(value) <= LABEL_VALUE_MAX and value.isprintable() for value in labels.values()):
        yield InvalidField("labels", f"must have values of at most {LABEL_VALUE_MAX} printable characters")
    elif any(holds_key(value) for value in labels.values()):
        yield InvalidField("labels", _NO_KEY)
