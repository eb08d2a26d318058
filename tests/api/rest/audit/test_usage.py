"""The usage of credentials over HTTP: filters, pages, roles, and a record of each reader."""

import re
from datetime import timedelta

import pytest

from domain.audit.request_events import AuditRead
from domain.audit.usage import UsagePlace, UsageRecord
from tests.api.conftest import OTHER_TENANT, START, TENANT

USAGE = "/api/v1/audit/usage"


@pytest.fixture
def filled(harness):
    """One record for each of five hours, from noon on, and one more of another tenant."""
    places = [UsagePlace(START + timedelta(hours=n), TENANT, "openai", n + 1) for n in range(5)]
    places.append(UsagePlace(START, OTHER_TENANT, "azure", 1))
    harness.usage.add([UsageRecord(place, 3, 1, place.hour + timedelta(minutes=7)) for place in places])
    return harness


def hours(answer):
    assert answer.status_code == 200, answer.text
    return [int(record["hour"][11:13]) for record in answer.json()["usage"]]


def test_a_record_says_how_often_a_version_was_used_and_when_last(filled):
    shown = filled.client.get(USAGE, params={"tenant_id": OTHER_TENANT}).json()
    assert shown == {
        "usage": [
            {
                "hour": "2026-01-31T12:00:00Z",
                "tenant_id": OTHER_TENANT,
                "provider": "azure",
                "version": 1,
                "calls": 3,
                "failures": 1,
                "last_used_at": "2026-01-31T12:07:00Z",
            }
        ],
        "next": None,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, [12, 12, 13, 14, 15, 16], id="everything, newest hour last"),
        pytest.param({"tenant_id": TENANT}, [12, 13, 14, 15, 16], id="a tenant"),
        pytest.param({"provider": "azure"}, [12], id="a provider"),
        pytest.param({"since": "2026-01-31T15:00:00Z"}, [15, 16], id="since, included"),
        pytest.param({"until": "2026-01-31T13:00:00Z"}, [12, 12], id="until, not included"),
        pytest.param({"since": "2026-01-31T14:00:01+01:00", "until": "2026-01-31T15:00:00Z"}, [14], id="a window"),
    ],
)
def test_filters_narrow_what_is_shown(filled, query, expected):
    assert hours(filled.client.get(USAGE, params=query)) == expected


def test_pages_follow_each_other_by_next_and_by_link(filled):
    address: str | None
    seen, address = [], f"{USAGE}?since=2026-01-31T12:00:00%2B00:00&limit=2"
    while address:
        page = filled.client.get(address)
        seen += hours(page)
        link = re.fullmatch(r'<(/[^>]+)>; rel="next"', page.headers.get("Link", ""))
        assert (link is None) is (page.json()["next"] is None)
        address = link[1] if link else None
    assert seen == [12, 12, 13, 14, 15, 16]


def test_a_cursor_stays_good_while_more_is_counted(filled):
    first = filled.client.get(USAGE, params={"limit": 3}).json()
    filled.meter.used(TENANT, "vllm", 1, failed=False, rejected=False)
    assert hours(filled.client.get(USAGE, params={"after": first["next"]})) == [14, 15, 16]


def test_what_this_node_counted_is_in_the_answer(harness):
    harness.meter.used(TENANT, "openai", 2, failed=True, rejected=False)
    record = harness.client.get(USAGE).json()["usage"][0]
    assert (record["version"], record["calls"], record["failures"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param("after=7", "after", id="a position of the log"),
        pytest.param(f"after=491628.{TENANT}.G_P.1", "after", id="a provider that is not one"),
        pytest.param(f"after=491628.{TENANT}.openai.1%0A", "after", id="a line end"),
        pytest.param(f"after=x.{TENANT}.openai.1", "after", id="an hour that is not one"),
        pytest.param("after=", "after", id="nothing"),
        pytest.param("limit=0", "limit", id="no records"),
        pytest.param("limit=1001", "limit", id="too many records"),
        pytest.param("since=noon", "since", id="a time that is not one"),
        pytest.param("tenant_id=acme", "tenant_id", id="a tenant that is not one"),
        pytest.param("actor=anna", "actor", id="a filter of the entries"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_no_read(filled, query, field):
    answer = filled.client.get(f"{USAGE}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert not [event for event in filled.log.events if isinstance(event, AuditRead)]


def test_that_somebody_looked_is_recorded_before_the_answer(filled):
    filled.client.get(USAGE, params={"tenant_id": TENANT, "since": "2026-01-31T12:00:00Z", "limit": 1})
    read = [event for event in filled.log.events if isinstance(event, AuditRead)]
    assert [(event.view, event.actor, event.query) for event in read] == [
        ("usage", "super", f"tenant:{TENANT} since:2026-01-31T12:00:00.000000+00:00")
    ]


def test_nobody_looks_unrecorded(filled):
    filled.log.down = True
    assert filled.client.get(USAGE).status_code == 503


def test_records_that_cannot_be_read_are_503(filled):
    filled.usage.down = True
    assert filled.client.get(USAGE).status_code == 503
