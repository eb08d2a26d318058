"""The current credentials: each row with the head of its stream, and what providers and calls say of it."""

from datetime import timedelta

import pytest

from domain.audit.usage import UsagePlace, UsageRecord
from domain.credentials.credential import CredentialDeleted, CredentialReencrypted, CredentialSet
from domain.credentials.stored import Head, Stored
from tests.contracts.ledgers import BEGIN, Ledger
from tests.support.scenario import OTHER_TENANT, TENANT

SET, DELETED, REENCRYPTED = CredentialSet.TOPIC, CredentialDeleted.TOPIC, CredentialReencrypted.TOPIC

HEADS = [
    pytest.param(TENANT, "openai", Head(2, SET), "...6789", id="a replaced credential"),
    pytest.param(TENANT, "mistral", Head(2, DELETED), None, id="a deleted credential keeps its row"),
    pytest.param(OTHER_TENANT, "openai", Head(2, REENCRYPTED), "...6789", id="a re-encrypted credential"),
]


@pytest.mark.parametrize(("tenant_id", "provider", "head", "masked_key"), HEADS)
def test_a_row_is_read_with_the_head_of_its_stream(
    history: Ledger, tenant_id: str, provider: str, head: Head, masked_key: str | None
) -> None:
    found = history.credentials.read(tenant_id, provider)
    assert found.head == head
    assert found.row is not None
    assert (found.row.version, found.row.masked_key, found.recorded) == (head.version, masked_key, None)
    assert found == Stored.of(history.log.last(found.row.context.stream_id))


def test_a_credential_that_never_was_has_neither_row_nor_head(history: Ledger) -> None:
    assert history.credentials.read(OTHER_TENANT, "mistral") == Stored(None, None)


def test_several_are_read_in_the_order_they_were_asked_for(history: Ledger) -> None:
    places = [(OTHER_TENANT, "openai"), (TENANT, "vllm"), (TENANT, "mistral"), (OTHER_TENANT, "openai")]
    found = history.credentials.read_all(places)
    assert found == [history.credentials.read(*place) for place in places]
    assert all((one.rejected, one.answered, one.last_used_at) == (False, False, None) for one in found)


def test_reading_none_finds_none(history: Ledger) -> None:
    assert list(history.credentials.read_all([])) == []


@pytest.mark.parametrize(("tenant_id", "providers"), [(TENANT, ["openai"]), (OTHER_TENANT, ["openai"])])
def test_a_list_has_the_credentials_that_are_not_deleted(history: Ledger, tenant_id: str, providers: list[str]) -> None:
    expected = [history.credentials.read(tenant_id, provider) for provider in providers]
    assert history.credentials.of_tenant(tenant_id) == expected
    assert history.listed(tenant_id) == expected


def test_a_list_is_in_the_order_of_providers_and_knows_those_no_table_has(ledger: Ledger) -> None:
    for provider in ("openai", "zephyr", "anthropic"):
        ledger.author.set(TENANT, provider, "sk-one-0123456789")
    found = [one.row.provider for one in ledger.credentials.of_tenant(TENANT) if one.row is not None]
    assert found == ["anthropic", "openai", "zephyr"]
    assert ledger.listed(TENANT) == ledger.credentials.of_tenant(TENANT)


def test_a_tenant_without_credentials_has_an_empty_list(ledger: Ledger) -> None:
    assert list(ledger.credentials.of_tenant(TENANT)) == []
    assert list(ledger.listed(TENANT)) == []


def test_what_a_provider_said_counts_for_the_version_it_was_said_of(ledger: Ledger) -> None:
    def said() -> tuple[bool, bool]:
        found = ledger.credentials.read(TENANT, "openai")
        assert [(found.rejected, found.answered)] == [(one.rejected, one.answered) for one in ledger.listed(TENANT)]
        return found.rejected, found.answered

    ledger.author.set(TENANT, "openai", "sk-one-0123456789")
    assert said() == (False, False)
    ledger.author.answer(TENANT, "openai", 1, rejected=True)
    assert said() == (True, True)
    ledger.author.answer(TENANT, "openai", 1, rejected=False)
    assert said() == (False, True)
    ledger.author.set(TENANT, "openai", "sk-two-0123456789")
    assert said() == (False, False)


def test_the_last_use_counts_until_the_key_is_replaced(ledger: Ledger) -> None:
    ledger.author.set(TENANT, "openai", "sk-one-0123456789")
    used = BEGIN + timedelta(minutes=7)
    ledger.usage.add([UsageRecord(UsagePlace(BEGIN, TENANT, "openai", 1), 3, 0, used)])
    assert ledger.credentials.read(TENANT, "openai").last_used_at == used
    ledger.author.reencrypt(TENANT, "openai")
    assert ledger.credentials.read(TENANT, "openai").last_used_at == used
    assert [one.last_used_at for one in ledger.listed(TENANT)] == [used]
    ledger.author.set(TENANT, "openai", "sk-two-0123456789")
    assert ledger.credentials.read(TENANT, "openai").last_used_at is None
