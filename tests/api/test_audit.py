"""The history of a credential and the whole audit trail: filters and pages."""

import re
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from api.auth import Role
from api.schemas import Instant
from tests.api.conftest import CREDENTIALS, KEYS, OTHER_TENANT, TENANT

ENTRIES = "/api/v1/audit/entries"
HISTORY = f"{CREDENTIALS}/openai/history"


@pytest.fixture
def filled(harness):
    """Five entries, one a second from 12:00:00 on."""
    harness.put()
    harness.put(api_key="sk-another-key", headers={"X-API-Key": KEYS[Role.SYSADMIN], "X-Request-ID": "req-2"})
    harness.client.delete(f"{CREDENTIALS}/openai", headers={"Idempotency-Key": "delete-1"})
    harness.put("mistral")
    harness.client.put(f"{CREDENTIALS}/openai".replace(TENANT, OTHER_TENANT), json={"api_key": "sk-0123456789"})
    return harness


def positions(answer):
    assert answer.status_code == 200, answer.text
    return [entry["position"] for entry in answer.json()["entries"]]


def test_an_entry_says_who_did_what_when(filled):
    shown = filled.client.get(HISTORY).json()
    assert shown["next"] is None
    first, second, third = shown["entries"]
    assert second == {
        "details": {},
        "position": 2,
        "timestamp": "2026-01-31T12:00:01Z",
        "action": "replaced",
        "tenant_id": TENANT,
        "provider": "openai",
        "version": 2,
        "actor": "sysadmin-1",
        "request_id": "req-2",
        "command_id": second["command_id"],
        "masked_key": "...-key",
        "key_id": "k0123456789",
    }
    assert (first["action"], first["actor"]) == ("set", "super")
    assert (third["action"], third["command_id"], third["masked_key"], third["key_id"]) == (
        "deleted",
        "delete-1",
        None,
        None,
    )


def test_the_history_of_what_never_was_is_empty(filled):
    assert filled.client.get(f"{CREDENTIALS}/vllm/history").json() == {"entries": [], "next": None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, [1, 2, 3, 4, 5], id="everything"),
        pytest.param({"tenant_id": OTHER_TENANT}, [5], id="a tenant"),
        pytest.param({"provider": "mistral"}, [4], id="a provider"),
        pytest.param({"actor": "sysadmin-1"}, [2], id="an actor"),
        pytest.param({"actor": "nobody"}, [], id="an actor who did nothing"),
        pytest.param({"since": "2026-01-31T12:00:02Z"}, [3, 4, 5], id="since, included"),
        pytest.param({"until": "2026-01-31T12:00:02Z"}, [1, 2], id="until, not included"),
        pytest.param({"since": "2026-01-31T14:00:02+02:00"}, [3, 4, 5], id="another offset"),
        pytest.param({"since": "2026-01-31t12:00:02.000z", "until": "2026-01-31T12:00:03Z"}, [3], id="a window"),
        pytest.param({"after": "3"}, [4, 5], id="after a position"),
        pytest.param({"tenant_id": TENANT, "provider": "openai", "after": "1"}, [2, 3], id="together"),
    ],
)
def test_filters_narrow_the_trail(filled, query, expected):
    assert positions(filled.client.get(ENTRIES, params=query)) == expected


@pytest.mark.parametrize(
    "url", [f"{ENTRIES}?tenant_id={TENANT}&since=2026-01-31T12:00:00%2B00:00&limit=2", f"{HISTORY}?limit=2"]
)
def test_pages_follow_each_other_by_next_and_by_link(filled, url):
    whole = positions(filled.client.get(url.replace("limit=2", "limit=1000")))
    seen, address = [], url
    while address:
        page = filled.client.get(address)
        seen += positions(page)
        following = page.json()["next"]
        link = re.fullmatch(r'<(/[^>]+)>; rel="next"', page.headers.get("Link", ""))
        assert (link is None) is (following is None)
        assert following is None or following == page.json()["entries"][-1]["position"]
        address = link[1] if link else None
    assert seen == whole


def test_a_page_does_not_shift_while_others_write(filled):
    first = filled.client.get(ENTRIES, params={"limit": 3}).json()
    filled.put("berget")
    assert positions(filled.client.get(ENTRIES, params={"after": first["next"]})) == [4, 5, 6]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param("limit=0", "limit", id="no entries"),
        pytest.param("limit=1001", "limit", id="too many entries"),
        pytest.param("limit=x", "limit", id="a limit that is no number"),
        pytest.param("after=-1", "after", id="a negative position"),
        pytest.param(f"after={2**63}", "after", id="a position beyond counting"),
        pytest.param("limit=5&limit=6", "limit", id="a limit given twice"),
        pytest.param("page=2", "an unknown query parameter", id="an unknown parameter"),
    ],
)
def test_a_page_that_cannot_be_is_refused(filled, query, field):
    for url in (ENTRIES, HISTORY):
        answer = filled.client.get(f"{url}?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("tenant_id=7C9E6679-7425-40DE-944B-E07FC1F90AE7", "tenant_id"),
        ("provider=gpt", "provider"),
        ("provider=openai%0A", "provider"),
        ("actor=", "actor"),
        ("actor=a%00b", "actor"),
        ("actor=%F0%9F%98%80", "actor"),
        ("since=2026-01-31T12:00:00", "since"),
        ("until=2026-01-31", "until"),
        ("since=1769860800", "since"),
        ("since=now", "since"),
        ("since=2026-02-30T12:00:00Z", "since"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(filled, query, field):
    answer = filled.client.get(f"{ENTRIES}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5-01:30", datetime(2026, 1, 31, 13, 30, 0, 500000, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-14:00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_every_rfc_3339_time_is_read(text, expected):
    assert TypeAdapter(Instant).validate_python(text) == expected


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00+24:00", "2026-01-31T24:00:00Z", "２026-01-31T12:00:00Z", 5, None]
)
def test_other_times_are_not(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_python(text)


def test_a_store_that_does_not_answer_is_503(filled):
    filled.store.down = True
    assert filled.client.get(ENTRIES).status_code == filled.client.get(HISTORY).status_code == 503
