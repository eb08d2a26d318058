"""The credentials of all tenants in pages: together they say what the tenants' own lists say."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.credentials import fleet as fleet_pages
from domain.credentials.acceptance import acceptance_stream
from domain.credentials.commands import ReencryptCredential
from domain.credentials.credential import decide
from domain.credentials.fleet import CredentialPlace, Fleet, FleetFilter
from domain.credentials.stored import CredentialState, CredentialStatus
from domain.errors import ServiceError
from domain.events.event import CommandMeta
from keyledger.encryption.keyring import Keyring
from keyledger.log.recorders.acceptance_recorder import AcceptanceRecorder
from keyledger.usage.usage_meter import UsageMeter
from projections.credentials.as_of import PostgresPastCredentials
from projections.credentials.fleet import PostgresFleet
from projections.usage.credential_usage import PostgresCredentialUsage
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store
from tests.support.twins.token_usage import MemoryTokenUsage

KEY = "sk-live-0123456789xyz9"
TENANTS = [f"{digit * 8}-0000-4000-8000-000000000000" for digit in "0179f"] + ["00000000-0000-0000-0000-000000000000"]
PROVIDERS = ("anthropic", "openai", "vllm")
HERE = "WHERE tenant_id = %s AND provider = %s"
GONE = "token = NULL, binding = NULL, key_id = NULL, masked_key = NULL, set_at = NULL"
DAMAGE = {
    "row gone": f"DELETE FROM current_credentials {HERE}",
    "row says deleted": f"UPDATE current_credentials SET {GONE} {HERE}",
    "row of another version": f"UPDATE current_credentials SET version = version + 7 {HERE}",
    "row with another endpoint": f"UPDATE current_credentials SET endpoint = 'https://x' {HERE}",
}
STEPS = ("set", "set", "delete", "re-encrypted", "used", "refused", "taken", *DAMAGE)
HISTORY = st.lists(
    st.tuples(st.sampled_from(TENANTS), st.sampled_from(PROVIDERS), st.sampled_from(STEPS)), min_size=1, max_size=25
)


@dataclass
class Ledger:
    """A store, and its twin under the other encryption key, with a meter for what calls tell."""

    store: Store
    twin: Store
    now: datetime = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    keys: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        acceptances = AcceptanceRecorder(self.store.log, lambda: self.now)
        self.meter = UsageMeter(
            PostgresCredentialUsage(self.store.pool), acceptances, lambda: self.now, MemoryTokenUsage()
        )
        self.fleet = Fleet(PostgresFleet(self.store.pool), self.store.service)

    def step(self, tenant: str, provider: str, step: str) -> None:
        if step == "set":
            self.store.set(tenant, provider, f"{KEY}-{next(self.keys)}")
        elif step == "delete":
            self.store.delete(tenant, provider)
        elif step == "re-encrypted":
            self.seal_anew(tenant, provider)
        elif step in DAMAGE:
            with self.store.superuser() as database:
                database.execute(DAMAGE[step], [tenant, provider])
        else:
            self.tell(tenant, provider, failed=step != "taken", rejected=step == "refused")

    def seal_anew(self, tenant: str, provider: str) -> None:
        state = self.store.service.get(tenant, provider).credential
        under_ours = state.sealed is not None and state.sealed.key_id == self.store.keyring.primary_id
        sealer = self.twin.keyring if under_ours else self.store.keyring
        meta = CommandMeta("anna", "r-1", f"again-{next(self.keys)}")
        self.store.log.append(decide(state, ReencryptCredential(tenant, provider, meta), self.now, sealer))

    def tell(self, tenant: str, provider: str, version: int = 0, *, failed: bool, rejected: bool = False) -> None:
        """A call ended. version: of the credential it was made with, 0 for the present one."""
        self.now += timedelta(minutes=7)
        version = version or self.store.service.get(tenant, provider).credential.version
        self.meter.used(tenant, provider, version, failed=failed, rejected=rejected)
        self.meter.flush()

    def walk(self, size: int = 1000, **wanted: object) -> list[CredentialStatus]:
        """Every page from the first to the last, joined."""
        found: list[CredentialStatus] = []
        place: CredentialPlace | None = None
        while True:
            page = self.fleet.page(FleetFilter(**wanted, after=place, limit=size))  # type: ignore[arg-type]
            assert len(page.found) <= size
            found += page.found
            place = page.next
            if place is None:
                return found

    def lists(self) -> list[CredentialStatus]:
        return [status for tenant in sorted(TENANTS) for status in self.store.service.of_tenant(tenant)]

    def status(self, tenant: str = TENANT, provider: str = "openai") -> CredentialStatus:
        (found,) = self.walk(tenant_id=tenant, provider=provider)
        assert [found] == [one for one in self.store.service.of_tenant(tenant) if one.credential.provider == provider]
        return found


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    here = Keyring(ENCRYPTION_KEY, (OTHER_ENCRYPTION_KEY,))
    there = Keyring(OTHER_ENCRYPTION_KEY, (ENCRYPTION_KEY,))
    with open_store(database_url, here) as store, open_store(database_url, there) as twin:
        yield Ledger(store, twin)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=HISTORY,
    size=st.integers(1, 5),
    chunk=st.integers(1, 4),
    looked_at=st.integers(1, 6),
    budget=st.sampled_from([0, 60]),
)
def test_pages_joined_say_what_the_lists_of_the_tenants_say_whatever_their_size(
    ledger: Ledger, history: list[tuple[str, str, str]], size: int, chunk: int, looked_at: int, budget: int
) -> None:
    """Histories of one example continue from those before."""
    for step in history:
        with suppress(ServiceError):  # nothing there to delete, or damaged: also a history
            ledger.step(*step)
    ledger.store.follow()
    lists = ledger.lists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet_pages, "CHUNK", chunk)
        patch.setattr(fleet_pages, "LOOKED_AT", looked_at)
        patch.setattr(fleet_pages, "BUDGET_S", budget)
        assert ledger.walk(size) == lists
        for state in CredentialState:
            assert ledger.walk(size, state=state) == [one for one in lists if one.state is state]
        for provider in PROVIDERS:
            fitting = [one for one in lists if one.credential.provider == provider]
            assert ledger.walk(size, provider=provider) == fitting
        early = ledger.now - timedelta(days=1)
        unused = [one for one in lists if one.last_used_at is None or one.last_used_at < early]
        assert ledger.walk(size, used_before=early) == unused
    summed = Counter((one.credential.tenant_id, one.state) for one in lists)
    told = [one for after in _tenant_pages(ledger, size) for one in after]
    assert Counter({(one.tenant_id, state): n for one in told for state, n in one.states.items()}) == summed
    assert [one.tenant_id for one in told] == sorted({one.tenant_id for one in told})


def _tenant_pages(ledger: Ledger, size: int) -> Iterator[list[fleet_pages.TenantSummary]]:
    page = list(ledger.fleet.tenants(None, size))
    while page:
        yield page
        page = list(ledger.fleet.tenants(page[-1].tenant_id, size))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_credential_is_found_as_unreadable(ledger: Ledger, damage: str) -> None:
    ledger.step(TENANT, "openai", "set")
    ledger.store.follow()
    ledger.step(TENANT, "openai", damage)
    assert ledger.status().state is CredentialState.UNREADABLE
    (summary,) = ledger.fleet.tenants(None, 10)
    assert summary.states == {CredentialState.UNREADABLE: 1}


def test_a_search_by_encryption_key_finds_what_it_opens_and_not_what_is_deleted(ledger: Ledger) -> None:
    for provider in PROVIDERS:
        ledger.step(TENANT, provider, "set")
    ledger.step(TENANT, "openai", "re-encrypted")
    ledger.step(TENANT, "vllm", "delete")
    found = {
        ring.keyring.primary_id: [
            one.credential.provider for one in ledger.walk(size=1, key_id=ring.keyring.primary_id)
        ]
        for ring in (ledger.store, ledger.twin)
    }
    assert list(found.values()) == [["anthropic"], ["openai"]]


def test_a_credential_that_was_set_before_is_found_and_one_set_at_that_time_is_not(ledger: Ledger) -> None:
    ledger.step(TENANT, "openai", "set")
    ledger.step(OTHER_TENANT, "openai", "set")
    later = ledger.status(OTHER_TENANT).credential.set_at
    assert [one.credential.tenant_id for one in ledger.walk(set_before=later)] == [TENANT]


class TestUntested:
    def test_a_new_credential_is_untested_until_the_first_call_whatever_becomes_of_it(self, ledger: Ledger) -> None:
        ledger.step(TENANT, "openai", "set")
        assert (ledger.status().state, ledger.status().last_used_at) == (CredentialState.UNTESTED, None)
        ledger.tell(TENANT, "openai", failed=True)
        assert (ledger.status().state, ledger.status().last_used_at) == (CredentialState.IN_ORDER, ledger.now)

    def test_sealing_it_anew_leaves_it_tested(self, ledger: Ledger) -> None:
        ledger.step(TENANT, "openai", "set")
        ledger.step(TENANT, "openai", "taken")
        used = ledger.now
        ledger.step(TENANT, "openai", "re-encrypted")
        ledger.step(TENANT, "openai", "re-encrypted")
        assert (ledger.status().state, ledger.status().last_used_at) == (CredentialState.IN_ORDER, used)

    def test_another_key_is_untested_although_a_call_with_the_one_before_ends_late(self, ledger: Ledger) -> None:
        ledger.step(TENANT, "openai", "set")
        ledger.step(TENANT, "openai", "taken")
        ledger.step(TENANT, "openai", "set")
        ledger.tell(TENANT, "openai", version=1, failed=False)
        assert (ledger.status().state, ledger.status().last_used_at) == (CredentialState.UNTESTED, None)

    def test_one_that_was_set_again_after_a_delete_is_untested(self, ledger: Ledger) -> None:
        for step in ("set", "taken", "delete", "set"):
            ledger.step(TENANT, "openai", step)
        assert ledger.status().state is CredentialState.UNTESTED


class TestThen:
    """`as_of`: the state and the last use as the records of that time tell them."""

    def then(self, ledger: Ledger, at: datetime) -> tuple[CredentialState, datetime | None]:
        (found,) = PostgresPastCredentials(ledger.store.pool, ledger.store.keyring).of_tenant(TENANT, at)
        return found.state, found.last_used_at

    def test_a_credential_is_untested_before_its_first_recorded_call(self, ledger: Ledger) -> None:
        ledger.store.set(TENANT, "openai", KEY)
        (entry,) = ledger.store.audit()
        ledger.now = entry.timestamp + timedelta(days=1)
        ledger.tell(TENANT, "openai", failed=False)
        first = ledger.now
        ledger.now += timedelta(days=1)
        ledger.tell(TENANT, "openai", failed=False)
        assert self.then(ledger, entry.timestamp) == (CredentialState.UNTESTED, None)
        assert self.then(ledger, first) == (CredentialState.IN_ORDER, first)
        assert self.then(ledger, ledger.now) == (CredentialState.IN_ORDER, ledger.now)

    def test_the_use_of_a_key_before_is_not_that_of_the_key_then(self, ledger: Ledger) -> None:
        ledger.step(TENANT, "openai", "set")
        ledger.tell(TENANT, "openai", failed=False)
        ledger.step(TENANT, "openai", "set")
        assert self.then(ledger, datetime.now(UTC)) == (CredentialState.UNTESTED, None)

    def test_a_refusal_is_told_once_it_was_recorded(self, ledger: Ledger) -> None:
        ledger.step(TENANT, "openai", "set")
        (entry,) = ledger.store.audit()
        ledger.now = entry.timestamp + timedelta(days=1)
        ledger.step(TENANT, "openai", "refused")
        assert self.then(ledger, entry.timestamp)[0] is CredentialState.UNTESTED
        assert self.then(ledger, ledger.now)[0] is CredentialState.REJECTED


class TestTenants:
    def test_a_tenant_whose_credentials_are_all_gone_is_told_of_with_the_time_of_the_last_delete(
        self, ledger: Ledger
    ) -> None:
        ledger.step(TENANT, "openai", "set")
        ledger.step(TENANT, "openai", "taken")
        ledger.step(TENANT, "openai", "delete")
        deleted = [entry.timestamp for entry in ledger.store.audit() if entry.action == "deleted"]
        (summary,) = ledger.fleet.tenants(None, 10)
        assert (summary.states, [summary.last_change], summary.last_used_at) == ({}, deleted, None)

    def test_the_last_change_is_not_moved_by_sealing_anew(self, ledger: Ledger) -> None:
        ledger.step(TENANT, "openai", "set")
        (before,) = ledger.fleet.tenants(None, 10)
        ledger.step(TENANT, "openai", "re-encrypted")
        assert ledger.fleet.tenants(None, 10) == [before]

    def test_a_tenant_that_a_provider_only_refused_is_not_one(self, ledger: Ledger) -> None:
        """Records of acceptance are of no credential."""
        ledger.meter.used(TENANT, "openai", 1, failed=True, rejected=True)
        ledger.meter.flush()
        ledger.store.follow()
        assert ledger.store.log.last(acceptance_stream(TENANT, "openai")) is not None
        assert list(ledger.fleet.tenants(None, 10)) == []
