"""The rows of tenants follow from the log; what no holder of the keys wrote is found; names can be read."""

from pathlib import Path
from uuid import uuid4

import pytest

from domain.access.tenants import Tenants
from domain.credentials.commands import Precondition
from domain.errors import CredentialIntegrityError
from domain.events.event import utc_now
from domain.tenants.policy import TenantPolicy
from domain.tenants.tenant import Profile
from projections.replay.replaying import replay_projection
from projections.tenants import PostgresTenants
from tests.projections.test_access_keys import verified
from tests.support.issued_keys import meta_of_keys
from tests.support.store import Store
from tests.support.tenants import tenant_reader

ANY = Precondition()
TENANT, OTHER = str(uuid4()), str(uuid4())


def tenants_of(store: Store) -> Tenants:
    listed = PostgresTenants(store.pool, tenant_reader(lambda: store.log.codes), store.people.reader)
    return Tenants(store.log, listed, utc_now, ["openai"])


def test_tenants_are_shown_with_their_names_in_the_order_asked_for(store: Store) -> None:
    tenants = tenants_of(store)
    tenants.register(TENANT, Profile("Acme", {"plan": "gold"}), meta_of_keys(), ANY)
    tenants.register(TENANT, Profile("Acme Health"), meta_of_keys(), ANY)
    tenants.freeze(TENANT, meta_of_keys(), ANY)
    other, named = tenants.all_of([OTHER, TENANT])
    assert (other.tenant.version, other.profile) == (0, None)
    assert (named.tenant.version, named.profile) == (3, Profile("Acme Health"))
    with store.superuser() as database:
        stored = database.execute("SELECT string_agg(convert_from(state, 'UTF8'), '') AS all FROM keyledger_events")
        assert "Acme" not in str(stored.fetchone())


def test_the_name_of_a_tenant_whose_keys_are_destroyed_is_gone_and_its_rules_hold(store: Store) -> None:
    tenants = tenants_of(store)
    tenants.register(TENANT, Profile("Acme"), meta_of_keys(), ANY)
    tenants.change_policy(TENANT, TenantPolicy(fallback=False), meta_of_keys(), ANY)
    with store.superuser() as database:
        database.execute("DELETE FROM personal_keys")
    known = tenants.show(TENANT)
    assert (known.profile, known.tenant.registered, known.tenant.policy.fallback) == (None, True, False)
    assert tenants.register(TENANT, Profile("Acme"), meta_of_keys(), ANY).known.profile == Profile("Acme")


DAMAGE = [
    pytest.param("UPDATE tenants SET version = 1", "view-not-at-head", id="an earlier version put back"),
    pytest.param("UPDATE tenants SET frozen = false", "view-contradicts-log", id="thawed"),
    pytest.param("DELETE FROM tenants", "view-row-missing", id="taken away"),
]
FORGED = (
    "INSERT INTO keyledger_events SELECT originator_id, originator_version + 1, 'TenantThawed', state,"
    " notification_id + 1, {} FROM keyledger_events WHERE topic = 'TenantFrozen'"
)


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_a_row_that_someone_changed_is_an_error_and_is_found(
    store: Store, tmp_path: Path, damage: str, reason: str
) -> None:
    tenants = tenants_of(store)
    tenants.register(TENANT, Profile("Acme"), meta_of_keys(), ANY)
    tenants.freeze(TENANT, meta_of_keys(), ANY)
    assert verified(store, tmp_path) == ""
    with store.superuser() as database:
        database.execute(damage.encode())
    with pytest.raises(CredentialIntegrityError, match=reason):
        tenants.state_of(TENANT)
    assert verified(store, tmp_path) == "tenants"
    assert replay_projection(store.url, "tenants").difference_count == 1


def test_a_row_that_was_added_is_found(store: Store, tmp_path: Path) -> None:
    tenants_of(store).freeze(TENANT, meta_of_keys(), ANY)
    with store.superuser() as database:
        database.execute("INSERT INTO tenants VALUES (%s, 1, false, true)", [OTHER])
    with pytest.raises(CredentialIntegrityError, match="stream-missing"):
        tenants_of(store).state_of(OTHER)
    assert verified(store, tmp_path) == "tenants"


@pytest.mark.parametrize("code", ["code_key_id, code", "NULL, NULL", "'k0123456789', code"])
def test_an_event_that_no_holder_of_the_keys_wrote_thaws_no_tenant(store: Store, code: str) -> None:
    tenants_of(store).freeze(TENANT, meta_of_keys(), ANY)
    with store.superuser() as database:
        database.execute(FORGED.format(code).encode())
        database.execute("UPDATE tenants SET version = 2, frozen = false")
    with pytest.raises(CredentialIntegrityError, match="event-code"):
        tenants_of(store).state_of(TENANT)
    with pytest.raises(CredentialIntegrityError):
        store.set(TENANT, "openai", "sk-live-0123456789")
    with pytest.raises(CredentialIntegrityError, match="event-code"):  # or it would be the ledger's own, and thaw it
        tenants_of(store).register(TENANT, Profile("Acme"), meta_of_keys(), ANY)
