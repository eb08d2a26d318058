"""The credentials in effect at a time."""

from datetime import timedelta

import pytest

from domain.audit.usage import UsagePlace, UsageRecord
from domain.credentials.stored import CredentialState
from tests.contracts.ledgers import BEGIN, Ledger
from tests.support.scenario import OTHER_TENANT, TENANT

UNTESTED, REJECTED, WORKS = CredentialState.UNTESTED, CredentialState.REJECTED, CredentialState.IN_ORDER

MOMENTS = [
    pytest.param(-1, TENANT, [], id="before the first event"),
    pytest.param(0, TENANT, [("openai", 1, UNTESTED)], id="at the time of the first"),
    pytest.param(1, TENANT, [("mistral", 1, UNTESTED), ("openai", 1, UNTESTED)], id="two, by provider"),
    pytest.param(3, TENANT, [("mistral", 1, UNTESTED), ("openai", 1, REJECTED)], id="when one was rejected"),
    pytest.param(4, TENANT, [("mistral", 1, UNTESTED), ("openai", 2, UNTESTED)], id="when it was replaced"),
    pytest.param(5, TENANT, [("openai", 2, UNTESTED)], id="when the other was deleted"),
    pytest.param(5, OTHER_TENANT, [("openai", 1, UNTESTED)], id="another tenant"),
    pytest.param(60, OTHER_TENANT, [("openai", 2, UNTESTED)], id="after a re-encryption"),
]


@pytest.mark.parametrize(("minutes", "tenant_id", "expected"), MOMENTS)
def test_a_tenant_had_exactly_these(history: Ledger, minutes: int, tenant_id: str, expected: list) -> None:
    found = history.past.of_tenant(tenant_id, BEGIN + timedelta(minutes=minutes))
    assert [(one.credential.provider, one.credential.version, one.state) for one in found] == expected


def test_a_use_counts_from_when_it_was_until_the_key_is_replaced(ledger: Ledger) -> None:
    ledger.author.set(TENANT, "openai", "sk-one-0123456789")
    ledger.author.reencrypt(TENANT, "openai")
    used = BEGIN + timedelta(minutes=3)
    ledger.usage.add([UsageRecord(UsagePlace(BEGIN, TENANT, "openai", 2), 1, 0, used)])
    ledger.author.now = BEGIN + timedelta(minutes=4)
    ledger.author.set(TENANT, "openai", "sk-two-0123456789")
    states = [ledger.past.of_tenant(TENANT, BEGIN + timedelta(minutes=minute)) for minute in (2, 3, 4)]
    assert [(one.state, one.last_used_at) for (one,) in states] == [(UNTESTED, None), (WORKS, used), (UNTESTED, None)]
