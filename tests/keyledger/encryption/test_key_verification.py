"""The proof that the primary key is enough, and everything that must break it."""

import pytest

from keyledger.encryption.key_verification import BATCH, Verification, verify
from tests.support.rings import BOTH, NEW, OLD, fill, rotate, set_all, tenants
from tests.support.store import Store, open_store


def verified(store: Store) -> Verification:
    return verify(store.url, store.pool, NEW, lambda step, done, total: None)


@pytest.fixture
def rotated(database_url: str) -> str:
    fill(database_url, 4)
    with open_store(database_url, BOTH) as store:
        rotate(store)
    return database_url


def test_after_a_rotation_it_holds(rotated: str) -> None:
    with open_store(rotated, NEW) as store:
        found = verified(store)
    assert found.holds
    assert (found.key_id, found.live, found.on_other_keys, found.unopened) == (NEW.primary_id, 4, 0, ())
    assert [projection.projection for projection in found.projections] == [
        "current_credentials",
        "access_keys",
        "tenants",
        "audit_trail",
        "transparency_log",
    ]


def test_a_credential_under_another_key_breaks_it(rotated: str) -> None:
    with open_store(rotated, OLD) as store:
        store.set(tenants(1)[0], "mistral", "sk-late-0123456789")
        found = verified(store)
    assert (found.on_other_keys, found.unopened_count) == (1, 1)
    assert [(one.tenant_id, one.provider, one.reason) for one in found.unopened] == [
        (tenants(1)[0], "mistral", "key-not-in-keyring")
    ]
    assert found.reasons == ["live credentials are sealed under other keys: 1"]


TAMPERED = [
    pytest.param("UPDATE current_credentials SET endpoint = 'https://evil' WHERE tenant_id = %s", 1, id="an endpoint"),
    pytest.param("UPDATE current_credentials SET version = 1 WHERE tenant_id = %s", 1, id="a version"),
    pytest.param("DELETE FROM current_credentials WHERE tenant_id = %s", 0, id="a row taken away"),
    pytest.param(
        "UPDATE current_credentials SET token = NULL, binding = NULL, key_id = NULL, masked_key = NULL, set_at = NULL"
        " WHERE tenant_id = %s",
        0,
        id="a row marked deleted",
    ),
]


@pytest.mark.parametrize(("statement", "unopened"), TAMPERED)
def test_a_view_that_somebody_edited_breaks_it(rotated: str, statement: str, unopened: int) -> None:
    with open_store(rotated, NEW) as store:
        with store.superuser() as database:
            database.execute(statement.encode(), [tenants(1)[0]])
        found = verified(store)
    assert found.unopened_count == unopened
    assert [(projection.projection, projection.difference_count) for projection in found.projections] == [
        ("current_credentials", 1),
        ("access_keys", 0),
        ("tenants", 0),
        ("audit_trail", 0),
        ("transparency_log", 0),
    ]
    assert not found.holds
    assert any("differs from its replay" in reason for reason in found.reasons)


def test_it_tells_how_far_it_is(database_url: str) -> None:
    with open_store(database_url, NEW) as store:
        set_all(store, tenants(BATCH + 1), "sk-live", NEW)
        told: list[tuple[str, int, int]] = []
        verify(store.url, store.pool, NEW, lambda step, done, total: told.append((step, done, total)))
    opening = [(done, total) for step, done, total in told if step == "opening credentials"]
    assert opening == [(0, BATCH + 1), (BATCH, BATCH + 1), (BATCH + 1, BATCH + 1)]
    assert {step for step, _, _ in told} == {
        "opening credentials",
        "replaying current_credentials",
        "replaying access_keys",
        "replaying tenants",
        "replaying audit_trail",
        "replaying transparency_log",
    }
