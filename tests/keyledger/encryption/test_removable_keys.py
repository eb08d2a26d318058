"""The reported status of each encryption key, through its whole life."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.operations.encryption_keys import KEYRING_STREAM, EncryptionKeyIntroduced, retire
from domain.operations.rotation import KeyState, KeyStatus
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Presence
from keyledger.encryption.removable_keys import MALFORMED
from keyledger.encryption.rotation import append_to_keyring
from projections.credentials.key_counts import KeyCount, KeyCounts
from tests.support.checker import check
from tests.support.rings import BOTH, NEW, OLD, fill, meta, now, rotate, statuses, tenants
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store


def by_id(store: Store, ring: Keyring = BOTH) -> dict[str, KeyStatus]:
    return {one.key_id: one for one in statuses(store, ring).all()}


def retired(store: Store, key_id: str) -> None:
    append_to_keyring(store.log, lambda keys: retire(keys, key_id, 0, meta(), now()))


def test_an_empty_ledger_knows_the_keys_of_its_ring(store: Store) -> None:
    first, second = statuses(store).all()
    assert (first.key_id, first.state, first.introduced_at) == (NEW.primary_id, KeyState.PRIMARY, None)
    assert (second.key_id, second.state, second.live, second.superseded) == (OLD.primary_id, KeyState.PREVIOUS, 0, 0)


def test_before_a_rotation_the_old_key_may_not_go_and_after_it_may(database_url: str) -> None:
    fill(database_url, 3)
    with open_store(database_url, BOTH) as store:
        before = by_id(store)[OLD.primary_id]
        assert (before.live, before.superseded, before.safe_to_remove) == (3, 0, False)
        assert "keyledger keys rotate" in before.reason
        rotate(store)
        after = by_id(store)
        assert (after[OLD.primary_id].live, after[OLD.primary_id].superseded) == (0, 3)
        assert after[OLD.primary_id].safe_to_remove
        assert f"keyledger keys retire {OLD.primary_id}" in after[OLD.primary_id].reason
        assert (after[NEW.primary_id].live, after[NEW.primary_id].superseded) == (3, 0)
        assert not after[NEW.primary_id].safe_to_remove
        check(store)


def test_replaced_and_deleted_secrets_count_as_superseded(store: Store) -> None:
    one, two = tenants(2)
    store.set(one, "openai", "sk-first-0123456789")
    store.set(one, "openai", "sk-second-0123456789")
    store.set(two, "openai", "sk-third-0123456789")
    store.delete(two, "openai")
    found = by_id(store, OLD)[OLD.primary_id]
    assert (found.live, found.superseded) == (1, 2)


def test_a_key_that_is_needed_and_not_configured_is_missing(database_url: str) -> None:
    fill(database_url, 2)
    with open_store(database_url, NEW) as store:
        found = by_id(store, NEW)[OLD.primary_id]
        assert (found.state, found.live, found.safe_to_remove) == (KeyState.MISSING, 2, False)
        assert "ENCRYPTION_KEY_PREVIOUS" in found.reason


def test_a_retired_key_that_is_still_configured_is_to_be_removed_and_then_is_just_retired(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        rotate(store)
        retired(store, OLD.primary_id)
        found = by_id(store)[OLD.primary_id]
        assert (found.state, found.safe_to_remove) == (KeyState.RETIRED, True)
        assert found.reason == "still configured: remove it from ENCRYPTION_KEY_PREVIOUS"
        assert found.retired_at is not None
        alone = by_id(store, NEW)[OLD.primary_id]
        assert (alone.state, alone.safe_to_remove, alone.reason) == (KeyState.RETIRED, True, "retired")


def test_a_key_under_which_a_running_service_seals_may_not_go(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store:
        rotate(store)
        late = Presence(store.pool)
        late.beat(Keyring(ENCRYPTION_KEY, [OTHER_ENCRYPTION_KEY]))
        found = by_id(store)[OLD.primary_id]
        assert not found.safe_to_remove
        assert found.reason.startswith("still the primary key of ")
        late.leave()
        assert by_id(store)[OLD.primary_id].safe_to_remove


def test_a_key_id_that_somebody_wrote_into_a_row_is_not_repeated(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, OLD) as store:
        with store.superuser() as database:
            database.execute("UPDATE current_credentials SET key_id = 'canary <b>'")
        found = by_id(store, OLD)
        assert set(found) == {OLD.primary_id, MALFORMED}
        assert (found[MALFORMED].live, found[MALFORMED].safe_to_remove) == (1, False)


def test_services_that_start_at_once_introduce_each_key_once(store: Store) -> None:
    with ThreadPoolExecutor(4) as threads:
        for started in [threads.submit(introduce_keys, store.log, BOTH, meta(), now) for _ in range(8)]:
            started.result()
    events = store.log.stream(KEYRING_STREAM)
    assert [event.key_id for event in events if isinstance(event, EncryptionKeyIntroduced)] == [
        OLD.primary_id,
        NEW.primary_id,
    ]
    assert all(one.introduced_at is not None for one in statuses(store).all())


def test_counts_are_the_same_however_the_history_is_cut_and_go_on_from_where_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.credentials.key_counts.SPAN", 2)
    counts = KeyCounts(store.pool, store.follower)
    assert counts.all() == {}
    fill(store.url, 3)
    assert counts.all() == {OLD.primary_id: KeyCount(3, 3)}
    with open_store(store.url, BOTH) as later:
        rotate(later)
    assert counts.all() == {OLD.primary_id: KeyCount(0, 3), NEW.primary_id: KeyCount(3, 3)}
    assert counts.all() == KeyCounts(store.pool, store.follower).all()


def test_a_history_that_became_shorter_is_counted_again(store: Store) -> None:
    fill(store.url, 3)
    counts = KeyCounts(store.pool, store.follower)
    before = counts.all()
    counts._counted_to += 100
    assert counts.all() == before
