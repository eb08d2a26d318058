"""A tenant's credentials as an administrator sees them, also after tampering with the tables."""

import pytest

from domain.errors import CredentialIntegrityError, CredentialNotFoundError
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import Store

KEY = "sk-live-0123456789xyz9"


def listed(store: Store, tenant: str = TENANT) -> list[tuple[str, str | None, bool]]:
    found = store.service.of_tenant(tenant)
    return [(status.credential.provider, status.credential.masked_key, status.readable) for status in found]


def test_a_tenant_without_any_has_an_empty_list(store: Store) -> None:
    store.set(OTHER_TENANT, "openai", KEY)
    assert listed(store) == []


def test_live_credentials_are_listed_by_provider(store: Store) -> None:
    for provider in ("openai", "mistral", "anthropic"):
        store.set(TENANT, provider, KEY)
    store.delete(TENANT, "mistral")
    assert listed(store) == [("anthropic", "...xyz9", True), ("openai", "...xyz9", True)]


GONE = "token = NULL, binding = NULL, key_id = NULL, masked_key = NULL, set_at = NULL"
DAMAGE = [
    pytest.param("DELETE FROM current_credentials", id="the row is gone"),
    pytest.param(f"UPDATE current_credentials SET {GONE}", id="the row is marked deleted"),
    pytest.param("UPDATE current_credentials SET version = 7", id="the row is of another version"),
    pytest.param("UPDATE current_credentials SET endpoint = 'https://evil'", id="the endpoint is another"),
    pytest.param("UPDATE current_credentials SET key_id = 'k0123456789'", id="the key id is another"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_credential_is_still_listed_and_not_as_readable(store: Store, damage: str) -> None:
    store.set(TENANT, "openai", KEY)
    with store.superuser() as database:
        database.execute(damage)
    assert listed(store) == [("openai", "...xyz9", False)]


def test_a_row_that_no_event_accounts_for_is_not_listed_as_readable(store: Store) -> None:
    store.set(OTHER_TENANT, "openai", KEY)
    with store.superuser() as database:
        database.execute("UPDATE current_credentials SET tenant_id = %s", [TENANT])
    assert listed(store) == [("openai", "...xyz9", False)]
    with pytest.raises(CredentialIntegrityError, match="stream-missing"):
        store.service.get(TENANT, "openai")


def test_an_empty_row_that_no_event_accounts_for_is_not_listed(store: Store) -> None:
    with store.superuser() as database:
        database.execute(
            "INSERT INTO current_credentials (tenant_id, provider, version, stream_id)"
            " VALUES (%s, 'openai', 1, gen_random_uuid())",
            [TENANT],
        )
    assert listed(store) == []


def test_setting_it_again_mends_a_damaged_row(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    with store.superuser() as database:
        database.execute("UPDATE current_credentials SET version = 9, endpoint = 'https://evil'")
    store.set(TENANT, "openai", KEY + "2")
    assert listed(store) == [("openai", "...yz92", True)]


@pytest.mark.parametrize("damage", DAMAGE)
def test_setting_the_same_again_mends_a_damaged_row(store: Store, damage: str) -> None:
    store.set(TENANT, "openai", KEY)
    with store.superuser() as database:
        database.execute(damage)
    assert store.set(TENANT, "openai", KEY).version == 2
    assert listed(store) == [("openai", "...xyz9", True)]
    assert store.service.get(TENANT, "openai").readable


def test_a_deleted_credential_is_not_found(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    store.delete(TENANT, "openai")
    with pytest.raises(CredentialNotFoundError):
        store.service.get(TENANT, "openai")
