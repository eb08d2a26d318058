"""The audit trail: every filter and every cursor, on the history of `conftest.py`."""

from datetime import timedelta

import pytest

from domain.audit.entries import Action, AuditFilter
from domain.audit.request_events import Outcome
from tests.contracts.ledgers import BEGIN, NEW_KEY, OLD_KEY, SEALER, Ledger
from tests.support.scenario import OTHER_TENANT, TENANT

NO_ENTRY: list[int] = []

FILTERS = [
    pytest.param({}, [1, 2, 3, 4, 5, 6, 7, 8, 9], id="everything, oldest first"),
    pytest.param({"tenant_id": TENANT}, [1, 2, 4, 5, 6, 8], id="a tenant, in refused requests too"),
    pytest.param({"tenant_id": OTHER_TENANT, "provider": "openai"}, [3, 7], id="a credential"),
    pytest.param({"provider": "mistral"}, [2, 6], id="a provider"),
    pytest.param({"actor": "bruno"}, [3, 8, 9], id="an actor"),
    pytest.param({"actor": "bru"}, NO_ENTRY, id="an actor by the whole name only"),
    pytest.param({"action": Action("set")}, [1, 2, 3], id="an action"),
    pytest.param({"action": Action("replaced")}, [5], id="an action that depends on what was before"),
    pytest.param({"action": Action("reencrypted")}, [7], id="re-encryptions"),
    pytest.param({"outcome": Outcome.SUCCESS}, [1, 2, 3, 5, 6, 7, 9], id="what succeeded"),
    pytest.param({"outcome": Outcome.DENIED}, [8], id="what was denied"),
    pytest.param({"outcome": Outcome.FAILED}, [4], id="what failed"),
    pytest.param({"of_credential": True}, [1, 2, 3, 4, 5, 6, 7], id="what happened to credentials"),
    pytest.param({"key_id": OLD_KEY}, [1, 2, 3, 5], id="an encryption key"),
    pytest.param({"key_id": NEW_KEY}, [7], id="the encryption key of a re-encryption"),
    pytest.param({"reason": "ticket 47_11"}, [1], id="a reason, whatever its case"),
    pytest.param({"reason": "47%11"}, NO_ENTRY, id="a per cent sign is not a wildcard"),
    pytest.param({"reason": "47711"}, NO_ENTRY, id="an underscore is not a wildcard"),
    pytest.param({"reason": "mistral"}, NO_ENTRY, id="a reason is not any text"),
    pytest.param({"texts": ("MISTRAL",)}, [2, 6], id="a text, whatever its case"),
    pytest.param({"texts": ("bruno", "forbidden")}, [8], id="texts that all appear in the entry"),
    pytest.param({"texts": ("192.0.2.7",)}, [2], id="a text of the client's address"),
    pytest.param({"texts": ("zoe",)}, [9], id="a text of the details"),
    pytest.param({"texts": ('"count": 3',)}, [8], id="the spelling of the details"),
    pytest.param({"texts": (': 3, "route"',)}, [8], id="the order of the details"),
    pytest.param({"texts": ("cmd-3",)}, [4], id="a text of the command id"),
    pytest.param({"texts": ("cli",)}, [2], id="a text of the source"),
    pytest.param({"texts": ("fingerprint",)}, NO_ENTRY, id="names of fields are not text"),
    pytest.param({"texts": ("denied",)}, NO_ENTRY, id="the outcome is not text"),
    pytest.param({"texts": ("2026",)}, NO_ENTRY, id="the time is not text"),
    pytest.param({"since": BEGIN + timedelta(minutes=7)}, [8, 9], id="since, which is included"),
    pytest.param({"until": BEGIN + timedelta(minutes=2)}, [1, 2], id="until, which is not"),
    pytest.param({"after": 7}, [8, 9], id="after a position"),
    pytest.param({"before": 3}, [1, 2], id="before a position"),
    pytest.param({"after": 2, "before": 5}, [3, 4], id="between positions"),
    pytest.param({"limit": 2}, [1, 2], id="the first page"),
    pytest.param({"limit": 2, "after": 2}, [3, 4], id="the page after a cursor"),
    pytest.param({"newest_first": True, "limit": 2}, [9, 8], id="the newest page"),
    pytest.param({"newest_first": True, "limit": 2, "before": 8}, [7, 6], id="the page before a cursor"),
    pytest.param({"after": 9}, NO_ENTRY, id="after the end"),
]


@pytest.mark.parametrize(("wanted", "positions"), FILTERS)
def test_a_filter_finds_exactly_these(history: Ledger, wanted: dict, positions: list[int]) -> None:
    assert [entry.position for entry in history.trail.page(AuditFilter(**wanted)).entries] == positions


def test_a_fingerprint_finds_one_key_at_two_tenants(history: Ledger) -> None:
    first, *_ = history.trail.page(AuditFilter(limit=1)).entries
    found = history.trail.page(AuditFilter(fingerprint=first.fingerprint)).entries
    assert [(entry.position, entry.tenant_id) for entry in found] == [(1, TENANT), (3, OTHER_TENANT)]
    assert first.fingerprint != SEALER.primary_id


def test_an_entry_says_who_when_where_from_and_why(history: Ledger) -> None:
    first, second = history.trail.page(AuditFilter(limit=2)).entries
    assert (first.timestamp, first.actor, first.role, first.source) == (BEGIN, "anna", "sysadmin", "api")
    assert (first.reason, first.client_address, first.request_id) == ("Ticket 47_11", None, "req-0")
    assert (second.source, second.client_address, second.version) == ("cli", "192.0.2.7", 1)
    assert (second.masked_key, second.key_id, dict(second.details)) == ("...6789", OLD_KEY, {})


def test_the_details_of_a_refused_request_are_its_own(history: Ledger) -> None:
    (entry,) = history.trail.page(AuditFilter(action=Action("request-refused"))).entries
    route = {"method": "PUT", "route": "/x/{tenant_id}", "status": 403, "code": "forbidden", "count": 3}
    assert dict(entry.details) == route
    assert (entry.tenant_id, entry.provider) == (TENANT, None)


def test_an_entry_is_there_as_soon_as_its_event_is(ledger: Ledger) -> None:
    for number in range(1, 4):
        ledger.author.set(TENANT, "openai", f"sk-live-{number}0123456789")
        assert len(ledger.trail.page(AuditFilter()).entries) == number
