"""After a leak every credential that was hit is deleted, and no other; broken off, it continues."""

from dataclasses import replace
from uuid import uuid4

import pytest

from domain.access.tenants import Tenants
from domain.credentials.commands import Precondition
from domain.credentials.providers import CredentialConfig
from domain.events.event import CommandMeta, utc_now
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.rotation import Rotator
from keyledger.revocation.leak import Leak
from keyledger.revocation.revoking import Hit, Revoking
from projections.tenants import PostgresTenants
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store
from tests.support.tenants import tenant_reader

META = CommandMeta("cli:olga", "req-1", "cmd-1", role="operator", source="cli", reason="the key leaked")
TENANTS = sorted(str(uuid4()) for _ in range(4))
OLD, NEW = Keyring(ENCRYPTION_KEY), Keyring(OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY])


def revoking(store: Store) -> Revoking:
    return Revoking(store.pool, store.log, store.people.reader, utc_now)


def places(hits: list[Hit]) -> list[tuple[str, str]]:
    return [(hit.tenant_id, hit.provider) for hit in hits]


def live(store: Store) -> set[str]:
    return {tenant for tenant in TENANTS if store.service.of_tenant(tenant)}


def test_a_key_that_was_ever_sealed_under_the_leaked_one_is_hit_also_after_a_rotation(database_url: str) -> None:
    with open_store(database_url, OLD) as store:
        for tenant in TENANTS[:3]:
            store.set(tenant, "openai", f"sk-{tenant}")
        store.delete(TENANTS[2], "openai")
    with open_store(database_url, NEW) as store:
        rotator = Rotator(store.pool, store.log, store.keyring, utc_now)
        rotator.run(rotator.begin(META), META, lambda progress: True)
        store.set(TENANTS[1], "openai", "sk-replaced-0123456789")
        store.set(TENANTS[3], "openai", "sk-later-0123456789")
        leak = Leak(key_id=OLD.primary_id)
        hits = revoking(store).hits(leak)
        assert places(hits) == [(TENANTS[0], "openai")]
        assert live(store) == {TENANTS[0], TENANTS[1], TENANTS[3]}, "a plan changes nothing"
        done = revoking(store).revoke(leak, hits, META)
        assert (len(done.deleted), done.changed, done.failed) == (1, [], [])
        assert live(store) == {TENANTS[1], TENANTS[3]}
        assert revoking(store).hits(leak) == []
        last = store.audit()[-1]
        assert (last.action, last.tenant_id, last.causation_id) == ("deleted", TENANTS[0], leak.causation_id)
        assert (last.actor, last.reason) == ("cli:olga", "the key leaked")


def test_a_key_that_was_set_again_with_other_settings_or_after_a_deletion_is_hit(database_url: str) -> None:
    with open_store(database_url, OLD) as store:
        for tenant in TENANTS[:3]:
            store.set(tenant, "openai", f"sk-{tenant}")
    with open_store(database_url, NEW) as store:
        store.set(TENANTS[0], "openai", f"sk-{TENANTS[0]}", CredentialConfig("https://gateway.example/v1"))
        store.delete(TENANTS[1], "openai")
        store.set(TENANTS[1], "openai", f"sk-{TENANTS[1]}")
        store.set(TENANTS[2], "openai", "sk-another-0123456789")
        found = revoking(store).hits(Leak(key_id=OLD.primary_id))
        assert places(found) == [(TENANTS[0], "openai"), (TENANTS[1], "openai")]


def test_every_tenant_with_a_leaked_key_is_hit_by_its_fingerprint(store: Store) -> None:
    for tenant in TENANTS[:3]:
        store.set(tenant, "openai", "sk-shared-0123456789" if tenant != TENANTS[1] else "sk-another-0123456789")
    (entry,) = store.audit(tenant_id=TENANTS[0])
    leak = Leak(fingerprint=entry.fingerprint)
    assert places(revoking(store).hits(leak)) == [(TENANTS[0], "openai"), (TENANTS[2], "openai")]
    revoking(store).revoke(leak, revoking(store).hits(leak), META)
    assert live(store) == {TENANTS[1]}


def test_a_frozen_tenant_is_no_shelter_for_a_leaked_key(store: Store) -> None:
    store.set(TENANTS[0], "openai", "sk-shared-0123456789")
    listed = PostgresTenants(store.pool, tenant_reader(lambda: store.log.codes), store.people.reader)
    Tenants(store.log, listed, utc_now, ["openai"]).freeze(TENANTS[0], META, Precondition())
    leak = Leak(key_id=store.keyring.primary_id)
    assert len(revoking(store).revoke(leak, revoking(store).hits(leak), META).deleted) == 1


def test_a_key_that_is_replaced_meanwhile_stays_and_is_named(store: Store) -> None:
    store.set(TENANTS[0], "openai", "sk-shared-0123456789")
    leak = Leak(key_id=store.keyring.primary_id)
    hits = revoking(store).hits(leak)
    store.set(TENANTS[0], "openai", "sk-replaced-0123456789")
    done = revoking(store).revoke(leak, hits, META)
    assert (done.deleted, done.changed) == ([], hits)
    assert live(store) == {TENANTS[0]}


def test_a_revocation_that_broke_off_continues_with_what_is_left(store: Store) -> None:
    for tenant in TENANTS:
        store.set(tenant, "openai", "sk-shared-0123456789")
    leak = Leak(key_id=store.keyring.primary_id)
    hits = revoking(store).hits(leak)
    revoking(store).revoke(leak, hits[:2], META)
    assert places(revoking(store).hits(leak)) == places(hits[2:])
    again = revoking(store).revoke(leak, hits, replace(META, request_id="req-2"))
    assert (len(again.deleted), again.failed) == (4, []), "a deletion that is sent again happened once"
    assert live(store) == set()
    assert len([entry for entry in store.audit() if entry.action == "deleted"]) == 4


def test_a_credential_whose_row_someone_removed_is_hit_all_the_same(store: Store) -> None:
    store.set(TENANTS[0], "openai", "sk-shared-0123456789")
    with store.superuser() as database:
        database.execute("DELETE FROM current_credentials")
    leak = Leak(key_id=store.keyring.primary_id)
    assert places(revoking(store).hits(leak)) == [(TENANTS[0], "openai")]


@pytest.mark.parametrize("leak", [Leak(key_id="k0000000000"), Leak(fingerprint="f0123456789abcdef")])
def test_a_leak_of_something_else_hits_nothing(store: Store, leak: Leak) -> None:
    store.set(TENANTS[0], "openai", "sk-shared-0123456789")
    assert revoking(store).hits(leak) == []
    assert leak.causation_id == Leak(leak.key_id, leak.fingerprint).causation_id
