"""The records of usage: additions, filters and cursors."""

from datetime import timedelta

import pytest

from domain.audit.usage import HOUR, UsageFilter, UsagePlace, UsageRecord
from tests.contracts.ledgers import BEGIN, Ledger
from tests.support.scenario import OTHER_TENANT, TENANT

PLACES = [
    UsagePlace(BEGIN, TENANT, "mistral", 1),
    UsagePlace(BEGIN, TENANT, "openai", 1),
    UsagePlace(BEGIN, TENANT, "openai", 2),
    UsagePlace(BEGIN, OTHER_TENANT, "mistral", 1),
    UsagePlace(BEGIN + HOUR, TENANT, "mistral", 1),
    UsagePlace(BEGIN + 2 * HOUR, TENANT, "mistral", 3),
]
"""In the order of pages: hour, tenant, provider, version."""

FILTERS = [
    pytest.param({}, [0, 1, 2, 3, 4, 5], id="everything, oldest hour first"),
    pytest.param({"tenant_id": OTHER_TENANT}, [3], id="a tenant"),
    pytest.param({"provider": "openai"}, [1, 2], id="a provider"),
    pytest.param({"since": BEGIN + HOUR}, [4, 5], id="hours since, which is included"),
    pytest.param({"since": BEGIN + timedelta(minutes=1)}, [4, 5], id="an hour that began before is left out"),
    pytest.param({"until": BEGIN + HOUR}, [0, 1, 2, 3], id="hours until, which is not included"),
    pytest.param({"limit": 2}, [0, 1], id="the first page"),
    pytest.param({"limit": 2, "after": PLACES[1]}, [2, 3], id="the page after a cursor"),
    pytest.param({"after": PLACES[5]}, [], id="after the end"),
    pytest.param({"tenant_id": TENANT, "after": PLACES[3]}, [4, 5], id="a tenant after another's record"),
]


@pytest.mark.parametrize(("wanted", "numbers"), FILTERS)
def test_a_filter_finds_exactly_these(ledger: Ledger, wanted: dict, numbers: list[int]) -> None:
    ledger.usage.add([UsageRecord(place, 3, 1, place.hour) for place in reversed(PLACES)])
    found = ledger.usage.page(UsageFilter(**wanted))
    assert [record.place for record in found] == [PLACES[number] for number in numbers]


def test_what_is_added_to_a_record_adds_up_and_the_latest_time_stays(ledger: Ledger) -> None:
    early, late = BEGIN + timedelta(minutes=1), BEGIN + timedelta(minutes=2)
    ledger.usage.add([UsageRecord(PLACES[0], 3, 1, late)])
    ledger.usage.add([UsageRecord(PLACES[0], 4, 2, early)])
    assert list(ledger.usage.page(UsageFilter())) == [UsageRecord(PLACES[0], 7, 3, late)]
