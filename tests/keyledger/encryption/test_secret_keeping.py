"""One secret for a ledger, whatever keys come and go, and however many nodes start at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from domain.credentials.secret import Secret
from domain.events.event import utc_now
from domain.operations.encryption_keys import KEYRING_STREAM
from domain.operations.ledger_secret import LedgerSecretSealed, sealings_in
from keyledger.assembly.command_meta import service_meta
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.key_retirement import Retirer
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.ledger_secret import LedgerSecret, random_key, secret_key_of_encryption_key
from keyledger.encryption.secret_keeping import SecretKeeper, SecretKeys
from keyledger.proofs.signing_keys import generate_signing_key
from keyledger.start_error import StartError
from tests.support.rings import BOTH, NEW, OLD, statuses
from tests.support.scenario import TENANT
from tests.support.service import client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store

SIGNING_KEY = generate_signing_key("secret.test")
FIRST, SECOND = SecretKeys.of([ENCRYPTION_KEY], None), SecretKeys.of([OTHER_ENCRYPTION_KEY], None)
BOTH_KEYS = SecretKeys.of([OTHER_ENCRYPTION_KEY, ENCRYPTION_KEY], None)
NONE = SecretKeys()


def kept(store: Store, keys: SecretKeys) -> LedgerSecret:
    """Start as a node with these keys does, and return its secret."""
    keeper = SecretKeeper(store.pool, keys)
    keeper.keep(keys, store.log, service_meta(), utc_now)
    return keeper()


def sealed_under(store: Store) -> set[str]:
    return set(sealings_in(store.log.stream(KEYRING_STREAM)).tokens)


def in_clear(store: Store) -> int:
    with store.superuser() as database:
        return len(database.execute("SELECT 1 FROM ledger_secret").fetchall())


SUCCESSIONS = {
    "one key, again": [FIRST, FIRST],
    "no key, then an encryption key": [NONE, FIRST],
    "no key, then a signing key": [NONE, SecretKeys.of([], SIGNING_KEY)],
    "a rotation": [FIRST, BOTH_KEYS, SECOND],
    "a signing key, then an encryption key": [
        SecretKeys.of([], SIGNING_KEY),
        SecretKeys.of([ENCRYPTION_KEY], SIGNING_KEY),
        FIRST,
    ],
}


@pytest.mark.parametrize("succession", SUCCESSIONS.values(), ids=list(SUCCESSIONS))
def test_the_secret_stays_the_same_over(store: Store, succession: list[SecretKeys]) -> None:
    assert len({kept(store, keys).raw for keys in succession}) == 1
    assert in_clear(store) == 0, "it is in the log, sealed"
    assert {key.key_id for key in succession[-1].sealing} <= sealed_under(store)


def test_without_any_key_it_is_kept_in_clear_and_one_for_all_nodes(store: Store) -> None:
    assert kept(store, NONE).raw == kept(store, NONE).raw
    assert in_clear(store) == 1
    assert sealed_under(store) == set()


@pytest.mark.parametrize("keys", [FIRST, NONE], ids=["with a key", "without one"])
def test_nodes_that_start_at_once_agree(store: Store, keys: SecretKeys) -> None:
    together = Barrier(6)

    def start(_: int) -> bytes:
        together.wait()
        return kept(store, keys).raw

    with ThreadPoolExecutor(6) as nodes:
        assert len(set(nodes.map(start, range(6)))) == 1
    events = [one for one in store.log.stream(KEYRING_STREAM) if isinstance(one, LedgerSecretSealed)]
    assert len(events) == len(keys.sealing)


@pytest.mark.parametrize("keys", [SECOND, NONE], ids=["with another key", "without keys"])
def test_a_node_that_cannot_open_it_does_not_start_and_makes_no_other(store: Store, keys: SecretKeys) -> None:
    before = kept(store, FIRST)
    with pytest.raises(StartError, match=OLD.primary_id):
        kept(store, keys)
    assert kept(store, FIRST).raw == before.raw


def test_a_secret_that_is_lost_with_its_key_is_replaced_when_the_operator_says_so(store: Store) -> None:
    before = kept(store, FIRST)
    after = kept(store, SecretKeys.of([OTHER_ENCRYPTION_KEY], None, declared_lost=True))
    assert after.raw != before.raw
    assert sealed_under(store) == {NEW.primary_id}
    assert kept(store, SECOND).raw == after.raw


def test_a_sealing_of_another_secret_or_under_another_key_does_not_open() -> None:
    key, other = secret_key_of_encryption_key(ENCRYPTION_KEY), secret_key_of_encryption_key(OTHER_ENCRYPTION_KEY)
    one, two = LedgerSecret(random_key()), LedgerSecret(random_key())
    token = key.seal(one)
    opened = key.open(one.secret_id, token)
    assert opened is not None
    assert opened.raw == one.raw
    assert key.open(two.secret_id, token) is None
    assert other.open(one.secret_id, token) is None
    assert key.open(one.secret_id, token[:-4]) is None
    assert key.open(one.secret_id, "not a token") is None
    assert one.raw.hex() not in f"{one!r} {key!r}"


def test_an_encryption_key_is_not_retired_before_the_next_one_opens_the_secret(store: Store) -> None:
    kept(store, FIRST)
    introduce_keys(store.log, BOTH, service_meta(), utc_now)
    retirer = Retirer(store.url, store.pool, store.log, NEW, statuses(store), utc_now)
    with pytest.raises(Exception, match="does not open the ledger's own secret yet"):
        retirer.plan(OLD.primary_id, lambda step, done, total: None)
    kept(store, BOTH_KEYS)
    assert retirer.plan(OLD.primary_id, lambda step, done, total: None).key_id == OLD.primary_id


def test_an_api_key_keeps_its_fingerprint_over_a_rotation(database_url: str) -> None:
    first = environment()
    second = environment(ENCRYPTION_KEY=OTHER_ENCRYPTION_KEY.reveal(), ENCRYPTION_KEY_PREVIOUS=ENCRYPTION_KEY.reveal())
    for settings in (
        first,
        second,
        environment(ENCRYPTION_KEY=OTHER_ENCRYPTION_KEY.reveal(), ALLOW_UNREADABLE_CREDENTIALS="true"),
    ):
        with served(database_url, settings) as url, client_of(url) as client:
            assert client.delete(TENANT, "openai").status_code in {200, 404}
            assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
    with open_store(database_url) as store:
        prints = [entry.fingerprint for entry in store.audit(tenant_id=TENANT) if entry.fingerprint]
        keys = {entry.key_id for entry in store.audit(tenant_id=TENANT) if entry.key_id}
    assert len(prints) == 3
    assert len(set(prints)) == 1
    assert keys == {OLD.primary_id, NEW.primary_id}


def test_a_ring_without_a_ledger_has_no_fingerprints() -> None:
    with pytest.raises(Exception, match="no-ledger-secret"):
        Keyring(ENCRYPTION_KEY).fingerprint(Secret("sk-live-0123456789"))
