"""The life of a tenant: registered, limited, frozen, thawed; each command once, and only what is read counts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access.tenants import ChangedTenant, Tenants
from domain.credentials.commands import Precondition
from domain.errors import (
    CredentialIntegrityError,
    ErrorCode,
    InvalidRequestError,
    ServiceError,
    UnresolvableError,
    VersionConflictError,
)
from domain.event_codec import event_of
from domain.events.event_code import NO_CODES
from domain.tenants.policy import TenantPolicy
from domain.tenants.stored import TenantReader, TenantRow
from domain.tenants.tenant import (
    Profile,
    TenantFrozen,
    TenantPolicyChanged,
    TenantRegistered,
    TenantThawed,
    tenant_stream,
)
from tests.support.errors import raises
from tests.support.scenario import NOW, OTHER_TENANT, TENANT, meta
from tests.support.twins.log import MemoryLog
from tests.support.twins.tenants import MemoryTenants

ANY = Precondition()
ACME = Profile("Acme", {"plan": "gold"})
NARROW = TenantPolicy(("openai",), own_endpoints=False, fallback=False, key_check=True)
READER = TenantReader(lambda: NO_CODES, event_of)


class Ledger:
    """A log in memory, with the commands on it."""

    def __init__(self) -> None:
        self.log, self.now = MemoryLog(), NOW
        self.listed = MemoryTenants(self.log)
        self.tenants = Tenants(self.log, self.listed, lambda: self.now, ["openai", "mistral"])

    def freeze(self, command: str = "freeze", precondition: Precondition = ANY) -> ChangedTenant:
        return self.tenants.freeze(TENANT, replace(meta(command), may_repeat=True), precondition)

    def thaw(self, command: str = "thaw") -> ChangedTenant:
        return self.tenants.thaw(TENANT, meta(command), ANY)

    def limit(self, policy: TenantPolicy, command: str = "limit") -> ChangedTenant:
        return self.tenants.change_policy(TENANT, policy, replace(meta(command), may_repeat=True), ANY)

    def register(self, profile: Profile = ACME, command: str = "register") -> ChangedTenant:
        return self.tenants.register(TENANT, profile, replace(meta(command), may_repeat=True), ANY)

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.log.events]


def test_every_event_carries_what_the_others_said() -> None:
    ledger = Ledger()
    for command in (ledger.register, lambda: ledger.limit(NARROW), ledger.freeze):
        assert command().changed
    tenant = ledger.tenants.show(TENANT).tenant
    assert (tenant.version, tenant.registered, tenant.policy, tenant.frozen_at) == (3, True, NARROW, NOW)
    assert ledger.thaw().known.profile == ACME
    assert ledger.kinds == [TenantRegistered, TenantPolicyChanged, TenantFrozen, TenantThawed]
    assert ledger.tenants.state_of(OTHER_TENANT).version == 0


def test_a_command_that_changes_nothing_succeeds_and_leaves_no_event() -> None:
    ledger = Ledger()
    assert [ledger.thaw().changed, ledger.limit(TenantPolicy()).changed] == [False, False]
    ledger.register()
    ledger.freeze()
    before = len(ledger.log.events)
    assert [ledger.register(command="r-2").changed, ledger.freeze("f-2").changed] == [False, False]
    assert len(ledger.log.events) == before


def test_a_command_that_is_repeated_happens_once_and_answers_the_same() -> None:
    ledger = Ledger()
    assert [ledger.freeze().changed, ledger.thaw().changed, ledger.freeze().changed] == [True, True, True]
    assert ledger.tenants.state_of(TENANT).frozen_at is None
    with raises(ErrorCode.IDEMPOTENCY_KEY_REUSED):
        ledger.limit(NARROW, "freeze")
    ledger.register(command="r-1")
    with raises(ErrorCode.IDEMPOTENCY_KEY_REUSED):
        ledger.register(Profile("Another"), "r-1")


@pytest.mark.parametrize("fault", ["outage after the effect", "conflict after the effect", "outage before the effect"])
def test_a_lost_answer_is_looked_up_and_nothing_happens_twice(fault: str) -> None:
    ledger = Ledger()
    ledger.log.errors.append(fault)
    assert ledger.freeze().changed
    assert ledger.kinds == [TenantFrozen]


def test_a_precondition_may_name_any_version_also_that_of_an_unknown_tenant() -> None:
    ledger = Ledger()
    with pytest.raises(VersionConflictError):
        ledger.freeze(precondition=Precondition(versions=frozenset({1})))
    ledger.freeze(precondition=Precondition(versions=frozenset({0})))
    with pytest.raises(VersionConflictError):
        ledger.tenants.thaw(TENANT, meta("t"), Precondition(exists=False))
    ledger.tenants.thaw(TENANT, meta("t"), Precondition(versions=frozenset({1})))


WRONG: list[tuple[Callable[[Ledger], object], str]] = [
    (lambda ledger: ledger.register(Profile("")), "name"),
    (lambda ledger: ledger.register(Profile(" Acme")), "name"),
    (lambda ledger: ledger.register(Profile("A\nB")), "name"),
    (lambda ledger: ledger.register(Profile("A" * 201)), "name"),
    (lambda ledger: ledger.register(Profile("sk-proj-0123456789abcdefghij0123456789")), "name"),
    (lambda ledger: ledger.register(Profile("Acme", {"Plan": "gold"})), "labels"),
    (lambda ledger: ledger.register(Profile("Acme", {f"l{n}": "" for n in range(33)})), "labels"),
    (lambda ledger: ledger.register(Profile("Acme", {"plan": "x" * 201})), "labels"),
    (lambda ledger: ledger.register(Profile("Acme", {"k": "sk-proj-0123456789abcdefghij0123456789"})), "labels"),
    (lambda ledger: ledger.limit(TenantPolicy(("acme",))), "providers"),
    (lambda ledger: ledger.limit(TenantPolicy(())), "providers"),
]


def test_what_is_malformed_is_refused_by_its_field_and_recorded_nowhere() -> None:
    ledger = Ledger()
    for number, (command, field) in enumerate(WRONG):
        with pytest.raises(InvalidRequestError) as refused:
            command(ledger)
        assert [one.field for one in refused.value.fields] == [field], number
    assert ledger.log.events == []


def test_a_rule_that_is_broken_is_named() -> None:
    ledger = Ledger()
    frozen = ledger.freeze().known.tenant
    for rule, code in (
        (frozen.require_free, ErrorCode.TENANT_FROZEN),
        (lambda: replace(frozen, frozen_at=None).require_usable(registration_required=True), "tenant-not-registered"),
        (lambda: NARROW.require_provider("mistral"), ErrorCode.OUTSIDE_POLICY),
        (lambda: NARROW.require_endpoint("https://llm.example.com"), ErrorCode.OUTSIDE_POLICY),
    ):
        with pytest.raises(UnresolvableError) as refused:
            rule()
        assert refused.value.code == code
    NARROW.require_provider("openai")
    NARROW.require_endpoint(None)


ROWS = [
    pytest.param(lambda row: replace_row(row, version=None), "view-row-missing", id="taken away"),
    pytest.param(lambda row: replace_row(row, version=1), "view-not-at-head", id="put back"),
    pytest.param(lambda row: replace_row(row, version=3), "view-not-at-head", id="ahead"),
    pytest.param(lambda row: replace_row(row, frozen=False), "view-contradicts-log", id="thawed"),
    pytest.param(lambda row: replace_row(row, registered=False), "view-contradicts-log", id="not registered"),
    pytest.param(lambda row: replace_row(row, head=None), "stream-missing", id="without events"),
    pytest.param(
        lambda row: replace_row(row, head=row.head._replace(state=b"{}")), "event-malformed", id="a malformed event"
    ),
]


def replace_row(row: TenantRow, **changes: object) -> TenantRow:
    return row._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("damage", "reason"), ROWS)
def test_a_row_that_differs_from_the_log_is_an_error(damage: Callable[[TenantRow], TenantRow], reason: str) -> None:
    ledger = Ledger()
    ledger.register()
    ledger.freeze()
    row = ledger.listed.row(TENANT)
    assert READER.tenant_of(TENANT, row) == ledger.tenants.state_of(TENANT)
    with pytest.raises(CredentialIntegrityError, match=reason):
        READER.tenant_of(TENANT, damage(row))


_POLICIES = st.builds(
    TenantPolicy,
    st.none() | st.sampled_from([("openai",), ("mistral",), ("mistral", "openai")]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
_COMMANDS = st.lists(
    st.one_of(
        st.just(("freeze", None)),
        st.just(("thaw", None)),
        st.tuples(st.just("limit"), _POLICIES),
        st.just(("name", None)),
    ),
    max_size=8,
)


@given(_COMMANDS)
def test_the_last_event_says_what_all_commands_together_said(commands: list[tuple[str, TenantPolicy | None]]) -> None:
    ledger, frozen, policy, registered = Ledger(), False, TenantPolicy(), False
    for number, (what, wanted) in enumerate(commands):
        ledger.now += timedelta(seconds=1)
        if what == "limit" and wanted is not None:
            policy = wanted
            ledger.limit(wanted, f"c-{number}")
        elif what == "name":
            registered = True
            ledger.register(command=f"c-{number}")
        else:
            frozen = what == "freeze"
            (ledger.freeze if frozen else ledger.thaw)(f"c-{number}")
    read = READER.tenant_of(TENANT, ledger.listed.row(TENANT))
    assert (read.frozen_at is not None, read.policy, read.registered) == (frozen, policy, registered)
    assert read.version == len(ledger.log.stream(tenant_stream(TENANT)))


def test_errors_of_the_store_pass() -> None:
    ledger = Ledger()
    ledger.log.down = True
    with pytest.raises(ServiceError):
        ledger.freeze()
