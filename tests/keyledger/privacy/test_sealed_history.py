"""An operator learns which encryption keys still open what a tenant once set, until each of them is retired."""

from domain.operations.encryption_keys import retire
from keyledger.encryption.rotation import append_to_keyring
from keyledger.privacy.sealed_history import sealed_history
from tests.support.rings import BOTH, NEW, OLD, meta, now, rotate
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import Store, open_store


def still_sealed(store: Store) -> dict[str, int]:
    return dict(sealed_history(store.pool, store.log, store.follower, TENANT))


def test_the_keys_that_open_a_tenants_history_are_named_until_they_are_retired(database_url: str) -> None:
    with open_store(database_url, OLD) as store:
        for key in ("sk-live-first-0123456789", "sk-live-second-0123456789"):
            store.set(TENANT, "openai", key)
        store.set(OTHER_TENANT, "openai", "sk-live-other-0123456789")
        store.delete(TENANT, "openai")
        assert still_sealed(store) == {OLD.primary_id: 2}
        store.set(TENANT, "openai", "sk-live-third-0123456789")
    with open_store(database_url, BOTH) as store:
        rotate(store)
        assert still_sealed(store) == {OLD.primary_id: 3, NEW.primary_id: 1}
        append_to_keyring(store.log, lambda keys: retire(keys, OLD.primary_id, 3, meta(), now()))
        assert still_sealed(store) == {NEW.primary_id: 1}
