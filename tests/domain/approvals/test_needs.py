"""Which events need a second person, and that one of them passes with its own approval alone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.access import access_key
from domain.access.access_key import AccessTerms
from domain.access.roles import Role
from domain.approvals.needs import PROPOSABLE, Approval, approval_of, names_of, require_approved
from domain.approvals.proposal import approve, evolve, propose
from domain.errors import AccessError, ErrorCode
from domain.events.event import SERVICE, CommandMeta, Event
from domain.operations.encryption_keys import Keys, introduce, retire
from domain.tenants.policy import TenantPolicy
from domain.tenants.tenant import Tenant, change_policy, freeze, thaw
from tests.support.each import each
from tests.support.scenario import NOW, TENANT, meta, was_deleted, was_set

ALL = frozenset(Approval)
WHO = meta("c-1")


def _key(role: Role) -> access_key.AccessKeyCreated:
    return access_key.create(None, "key", role, AccessTerms(), "a" * 64, WHO, NOW)


def _rotated(role: Role) -> Event:
    return access_key.rotate(access_key.evolve(_key(role)), "b" * 64, None, WHO, NOW)


def _changed(role: Role) -> Event | None:
    terms = AccessTerms(expires_at=NOW + timedelta(days=1))
    return access_key.change(access_key.evolve(_key(role)), terms, WHO, NOW)


WAIT: dict[str, tuple[Approval, Event | None]] = {
    "a deletion": (Approval.DELETE, was_deleted(2)),
    "a retirement": (Approval.RETIRE, retire(Keys(1, {"k0": NOW}), "k0", 0, WHO, NOW)),
    "a policy": (Approval.POLICY, change_policy(Tenant(TENANT), TenantPolicy(fallback=False), WHO, NOW)),
    "a thaw": (Approval.THAW, thaw(Tenant(TENANT, 1, frozen_at=NOW), WHO, NOW)),
    "a key of a sysadmin": (Approval.ACCESS_KEYS, _key(Role.SYSADMIN)),
    "another token of one": (Approval.ACCESS_KEYS, _rotated(Role.SYSADMIN)),
    "other terms of one": (Approval.ACCESS_KEYS, _changed(Role.SYSADMIN)),
}
PASS: dict[str, Event | None] = {
    "a credential": was_set(1),
    "a freeze": freeze(Tenant(TENANT), WHO, NOW),
    "a revocation": access_key.revoke(access_key.evolve(_key(Role.SYSADMIN)), WHO, NOW),
    "a key of an application": _key(Role.RUNTIME),
    "another token of one": _rotated(Role.OPERATOR),
    "other terms of one": _changed(Role.TENANT_ADMIN),
    "a key that is introduced": introduce(Keys(), ["k0"], WHO, NOW)[0],
    "a deletion by the service itself": replace(was_deleted(2), role=SERVICE),
}


def _held(event: Event | None, *others: Event, named: frozenset[Approval] = ALL) -> AccessError:
    assert event is not None
    with pytest.raises(AccessError) as held:
        require_approved([*others, event], named)
    assert held.value.code == ErrorCode.APPROVAL_REQUIRED
    return held.value


@each("name", WAIT)
def test_an_event_waits_that_approvals_names(name: str) -> None:
    approval, event = WAIT[name]
    assert event is not None
    assert approval_of(event) is approval
    assert event.TOPIC in PROPOSABLE
    assert _held(event, named=frozenset({approval})).decided == [event]
    require_approved([event], ALL - {approval})
    require_approved([event], frozenset())


@each("name", PASS)
def test_other_events_never_wait(name: str) -> None:
    event = PASS[name]
    assert event is not None
    require_approved([event], ALL)


def test_an_event_passes_with_its_own_approval_and_no_other() -> None:
    deleted = was_deleted(2)
    made = propose(deleted, "delete", WHO, NOW, NOW + timedelta(hours=1))
    approved = approve(evolve(made), CommandMeta("bob", "req-2", "c-2"), NOW)
    effect = replace(deleted, causation_id=approved.proposal_id)
    require_approved([approved, effect], ALL)
    _held(deleted, approved)
    _held(replace(effect, causation_id="another"), approved)
    _held(effect, made)
    _held(effect)


@each(
    "text, named",
    [
        ("", frozenset()),
        ("delete", frozenset({Approval.DELETE})),
        (" thaw, access-keys ,", frozenset({Approval.THAW, Approval.ACCESS_KEYS})),
    ],
)
def test_a_list_of_commands_is_read(text: str, named: frozenset[Approval]) -> None:
    assert names_of(text) == named


def test_another_word_is_an_error() -> None:
    wrong: Callable[[], object] = lambda: names_of("delete,everything")  # noqa: E731
    with pytest.raises(ValueError):
        wrong()
