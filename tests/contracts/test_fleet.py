"""The places of all tenants' credentials: filters and cursors, on the history of `conftest.py`."""

import pytest

from domain.credentials.fleet import CredentialPlace, FleetFilter
from tests.contracts.ledgers import BEGIN, NEW_KEY, OLD_KEY, Ledger
from tests.support.scenario import OTHER_TENANT, TENANT

MISTRAL, OPENAI = CredentialPlace(TENANT, "mistral"), CredentialPlace(TENANT, "openai")
OTHER = CredentialPlace(OTHER_TENANT, "openai")
UNKNOWN = CredentialPlace(OTHER_TENANT, "vllm")

PAGES = [
    pytest.param({}, None, 9, [MISTRAL, OPENAI, OTHER], id="everything, deleted ones too"),
    pytest.param({"tenant_id": TENANT}, None, 9, [MISTRAL, OPENAI], id="a tenant"),
    pytest.param({"provider": "openai"}, None, 9, [OPENAI, OTHER], id="a provider"),
    pytest.param({"tenant_id": TENANT, "provider": "openai"}, None, 9, [OPENAI], id="a tenant's provider"),
    pytest.param({"key_id": OLD_KEY}, None, 9, [OPENAI], id="an encryption key, only in use"),
    pytest.param({"key_id": NEW_KEY}, None, 9, [OTHER], id="the key of a re-encryption"),
    pytest.param({}, None, 1, [MISTRAL], id="the first page"),
    pytest.param({}, MISTRAL, 1, [OPENAI], id="the page after a cursor"),
    pytest.param({}, UNKNOWN, 9, [], id="after the end"),
    pytest.param({}, CredentialPlace(TENANT, "nothing"), 9, [OPENAI, OTHER], id="after a place that is not there"),
]


@pytest.mark.parametrize(("wanted", "after", "limit", "places"), PAGES)
def test_a_page_has_exactly_these_places(
    history: Ledger, wanted: dict, after: CredentialPlace | None, limit: int, places: list[CredentialPlace]
) -> None:
    assert list(history.fleet.places(FleetFilter(**wanted), after, limit)) == places


TENANTS = [
    pytest.param(None, 9, {TENANT: [MISTRAL, OPENAI], OTHER_TENANT: [OTHER]}, id="all tenants"),
    pytest.param(None, 1, {TENANT: [MISTRAL, OPENAI]}, id="the first tenant with all its places"),
    pytest.param(TENANT, 1, {OTHER_TENANT: [OTHER]}, id="the tenant after a cursor"),
    pytest.param(OTHER_TENANT, 1, {}, id="after the last tenant"),
]


@pytest.mark.parametrize(("after", "limit", "places"), TENANTS)
def test_a_page_of_tenants_has_exactly_these_places(
    history: Ledger, after: str | None, limit: int, places: dict[str, list[CredentialPlace]]
) -> None:
    found = history.fleet.of_tenants(after, limit)
    assert (list(found), dict(found)) == (list(places), places)


def test_what_is_stored_comes_in_the_order_asked_for_without_unknown_places(history: Ledger) -> None:
    found = history.fleet.lodged([OTHER, UNKNOWN, MISTRAL, OPENAI])
    assert [one.place for one in found] == [OTHER, MISTRAL, OPENAI]
    assert [one.stored for one in found] == [history.credentials.read(*one.place) for one in found]
    minutes = [(one.changed_at - BEGIN).total_seconds() / 60 for one in found if one.changed_at is not None]
    assert minutes == [2, 5, 4], "re-encryption changes nothing; a deletion and a replacement do"
