"""The credentials in effect at a time, also after tampering with the projections."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from domain.errors import CredentialIntegrityError
from domain.events.event import Event
from keyledger.encryption.keyring import Keyring
from projections.credentials import as_of
from projections.credentials.as_of import PostgresPastCredentials
from tests.support.scenario import NOW, OTHER_TENANT, TENANT, was_deleted, was_set
from tests.support.store import OTHER_ENCRYPTION_KEY, Store

KEY = "sk-live-0123456789xyz9"
SECOND = timedelta(seconds=1)


def shown(store: Store, at: datetime, tenant: str = TENANT) -> list[tuple[str, str | None, bool]]:
    found = PostgresPastCredentials(store.pool, store.keyring).of_tenant(tenant, at)
    return [(one.credential.provider, one.credential.masked_key, one.readable) for one in found]


def at_seconds(*events: Event) -> Sequence[Event]:
    """The events, one a second."""
    return [replace(event, timestamp=NOW + nth * SECOND) for nth, event in enumerate(events)]


def test_the_past_is_shown_as_it_was(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    store.set(TENANT, "mistral", KEY)
    store.set(OTHER_TENANT, "openai", KEY)
    store.set(TENANT, "openai", KEY + "2")
    store.delete(TENANT, "mistral")
    first, second, _, replaced, deleted = (entry.timestamp for entry in store.audit())
    assert shown(store, first - SECOND) == []
    assert shown(store, first) == [("openai", "...xyz9", True)]
    assert shown(store, second) == [("mistral", "...xyz9", True), ("openai", "...xyz9", True)]
    assert shown(store, replaced) == [("mistral", "...xyz9", True), ("openai", "...yz92", True)]
    assert shown(store, deleted) == [("openai", "...yz92", True)]
    assert shown(store, deleted + timedelta(days=1)) == [("openai", "...yz92", True)]


def test_nothing_but_the_log_is_asked(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    (entry,) = store.audit()
    with store.superuser() as database:
        database.execute("TRUNCATE current_credentials, audit_trail")
    assert shown(store, entry.timestamp) == [("openai", "...xyz9", True)]


@pytest.mark.parametrize("code", [None, bytes(32)], ids=["without a code", "with a wrong one"])
def test_an_event_that_was_changed_is_named_and_not_shown(store: Store, code: bytes | None) -> None:
    store.set(TENANT, "openai", KEY)
    (entry,) = store.audit()
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute(
            "UPDATE keyledger_events SET code = %s, code_key_id = CASE WHEN %s THEN NULL ELSE code_key_id END,"
            " state = replace(convert_from(state, 'UTF8'), '...xyz9', '...evil')::bytea",
            [code, code is None],
        )
    past = PostgresPastCredentials(store.pool, store.keyring, codes=lambda: store.log.codes)
    with pytest.raises(CredentialIntegrityError, match=r"event-code-.* at position 1"):
        past.of_tenant(TENANT, entry.timestamp)


def test_what_can_be_opened_is_told_as_of_now(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    (entry,) = store.audit()
    (past,) = PostgresPastCredentials(store.pool, Keyring(OTHER_ENCRYPTION_KEY)).of_tenant(TENANT, entry.timestamp)
    assert not past.readable


def test_a_long_history_is_searched_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_of, "_PAGE", 2)
    store.log.append(at_seconds(*[was_set(version, f"sk-number-{version:04d}") for version in range(1, 8)]))
    for version in range(1, 8):
        assert shown(store, NOW + (version - 1) * SECOND) == [("openai", f"...{version:04d}", False)]


def test_a_clock_that_went_back_does_not_bring_back_what_was_before(store: Store) -> None:
    events = [was_set(1), replace(was_deleted(2), timestamp=NOW - 5 * SECOND)]
    store.log.append(events)
    assert shown(store, NOW) == []
    assert shown(store, NOW - SECOND) == []


def test_an_event_that_is_not_understood_is_never_passed_over(store: Store) -> None:
    store.log.append([was_set(1)])
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events SELECT originator_id, 2, 'CredentialRenamed', '{}', 2 FROM keyledger_events"
        )
    with pytest.raises(CredentialIntegrityError, match="position 2, topic CredentialRenamed"):
        shown(store, NOW)
