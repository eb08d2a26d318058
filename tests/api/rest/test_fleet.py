"""All tenants at once, over HTTP: filters, pages, what is refused, and that no key is in an answer."""

import re

import pytest

from domain.credentials import fleet
from tests.api.conftest import CREDENTIALS, OTHER_TENANT, TENANT

FLEET = "/api/v1/sysadmin/credentials"
TENANTS = "/api/v1/sysadmin/tenants"


@pytest.fixture
def filled(harness):
    """Two tenants: a rejected, an untested and a deleted credential, and one in order."""
    for provider in ("openai", "mistral", "vllm"):
        harness.put(provider)
    harness.client.delete(f"{CREDENTIALS}/vllm")
    harness.client.put(f"{TENANTS}/{OTHER_TENANT}/credentials/openai", json={"api_key": "sk-0123456789"})
    harness.meter.used(TENANT, "openai", 1, failed=True, rejected=True)
    harness.meter.used(OTHER_TENANT, "openai", 1, failed=False, rejected=False)
    return harness


def found(answer):
    assert answer.status_code == 200, answer.text
    return [(one["tenant_id"], one["provider"], one["state"]) for one in answer.json()["credentials"]]


IN_ORDER = (OTHER_TENANT, "openai", "in-order")
UNTESTED = (TENANT, "mistral", "untested")
REJECTED = (TENANT, "openai", "credential-rejected")


def test_what_is_found_is_what_the_lists_of_the_tenants_say_and_whose_it_is(filled):
    everything = filled.client.get(FLEET).json()
    listed = []
    for tenant in (OTHER_TENANT, TENANT):
        of_one = filled.client.get(f"{TENANTS}/{tenant}/credentials").json()["credentials"]
        listed += [{"tenant_id": tenant, **one} for one in of_one]
    assert everything == {"credentials": listed, "next": None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, [IN_ORDER, UNTESTED, REJECTED], id="everything that is not deleted"),
        pytest.param({"state": "untested"}, [UNTESTED], id="untested"),
        pytest.param({"state": "credential-rejected"}, [REJECTED], id="rejected"),
        pytest.param({"state": "in-order"}, [IN_ORDER], id="in order"),
        pytest.param({"state": "unreadable"}, [], id="unreadable"),
        pytest.param({"provider": "openai"}, [IN_ORDER, REJECTED], id="a provider"),
        pytest.param({"provider": "one-of-tomorrow"}, [], id="a provider that no one has"),
        pytest.param({"tenant_id": TENANT}, [UNTESTED, REJECTED], id="a tenant"),
        pytest.param({"key_id": "k0123456789"}, [IN_ORDER, UNTESTED, REJECTED], id="the encryption key"),
        pytest.param({"key_id": "k9999999999"}, [], id="another encryption key"),
        pytest.param({"set_before": "2026-01-31T12:00:01Z"}, [REJECTED], id="set before, which is not included"),
        pytest.param({"used_before": "2026-01-01T00:00:00Z"}, [UNTESTED], id="not used since, or never"),
        pytest.param({"used_before": "2027-01-01T00:00:00+01:00"}, [IN_ORDER, UNTESTED, REJECTED], id="used long ago"),
        pytest.param({"provider": "openai", "state": "in-order"}, [IN_ORDER], id="two conditions"),
    ],
)
def test_filters_narrow_what_is_found(filled, query, expected):
    assert found(filled.client.get(FLEET, params=query)) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_pages_follow_each_other_by_next_and_by_link(filled, size):
    address: str | None
    seen, address = [], f"{FLEET}?used_before=2027-01-01T00:00:00%2B00:00&limit={size}"
    while address:
        page = filled.client.get(address)
        seen += found(page)
        link = re.fullmatch(r'<(/[^>]+)>; rel="next"', page.headers.get("Link", ""))
        assert (link is None) is (page.json()["next"] is None)
        address = link[1] if link else None
    assert seen == [IN_ORDER, UNTESTED, REJECTED]


def test_a_page_that_looked_at_much_and_found_nothing_says_where_to_go_on(filled, monkeypatch):
    monkeypatch.setattr(fleet, "LOOKED_AT", 2)
    page = filled.client.get(FLEET, params={"state": "credential-rejected"}).json()
    assert page == {"credentials": [], "next": f"{TENANT}.mistral"}
    assert found(filled.client.get(FLEET, params={"state": "credential-rejected", "after": page["next"]})) == [REJECTED]


def test_a_cursor_stays_good_while_others_write(filled):
    page = filled.client.get(FLEET, params={"limit": 2}).json()
    filled.put("anthropic")
    filled.client.delete(f"{CREDENTIALS}/mistral")
    assert found(filled.client.get(FLEET, params={"after": page["next"]})) == [REJECTED]


def test_tenants_are_told_with_their_counts_by_state(filled):
    nobody = {"in-order": 0, "untested": 0, "credential-rejected": 0, "unreadable": 0}
    page = filled.client.get(TENANTS).json()
    assert [(one["tenant_id"], one["credentials"], one["states"], one["last_change"]) for one in page["tenants"]] == [
        (OTHER_TENANT, 1, nobody | {"in-order": 1}, "2026-01-31T12:00:04Z"),
        (TENANT, 2, nobody | {"untested": 1, "credential-rejected": 1}, "2026-01-31T12:00:03Z"),
    ]
    used = [one["last_used_at"] for one in filled.client.get(FLEET).json()["credentials"]]
    assert [one["last_used_at"] for one in page["tenants"]] == [used[0], used[2]]


def test_a_tenant_that_has_no_credential_any_more_is_still_told_of(filled):
    filled.client.delete(f"{TENANTS}/{OTHER_TENANT}/credentials/openai")
    gone = filled.client.get(TENANTS).json()["tenants"][0]
    assert (gone["tenant_id"], gone["credentials"], gone["last_used_at"]) == (OTHER_TENANT, 0, None)


def test_pages_of_tenants_follow_each_other(filled):
    first = filled.client.get(TENANTS, params={"limit": 1})
    assert (first.json()["next"], first.headers["Link"]) == (
        OTHER_TENANT,
        f'<{TENANTS}?limit=1&after={OTHER_TENANT}>; rel="next"',
    )
    second = filled.client.get(TENANTS, params={"limit": 1, "after": OTHER_TENANT}).json()
    assert [one["tenant_id"] for one in second["tenants"]] == [TENANT]
    assert filled.client.get(TENANTS, params={"after": TENANT}).json() == {"tenants": [], "next": None}


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        pytest.param(FLEET, {"state": "fine"}, "state", id="a state that is not one"),
        pytest.param(FLEET, {"provider": "Open AI"}, "provider", id="a provider that is not a name"),
        pytest.param(FLEET, {"key_id": "k 1"}, "key_id", id="a key id with a blank"),
        pytest.param(FLEET, {"set_before": "2026-01-31"}, "set_before", id="a day"),
        pytest.param(FLEET, {"used_before": "2026-01-31T12:00:00"}, "used_before", id="a time without an offset"),
        pytest.param(FLEET, {"tenant_id": TENANT.upper()}, "tenant_id", id="a tenant in upper case"),
        pytest.param(FLEET, {"after": TENANT}, "after", id="half a cursor"),
        pytest.param(FLEET, {"after": f"{TENANT}.openai\n"}, "after", id="a cursor with a line end"),
        pytest.param(FLEET, {"limit": 1001}, "limit", id="more than a page holds"),
        pytest.param(TENANTS, {"after": "41"}, "after", id="a cursor of another list"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_field(filled, path, query, field):
    answer = filled.client.get(path, params=query)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


def test_tenants_cannot_be_filtered(filled):
    assert filled.client.get(TENANTS, params={"state": "untested"}).status_code == 422


def test_the_feature_switch_and_the_store_decide_as_everywhere(harness, switched_off):
    harness.usage.down = harness.log.down = True
    harness.meter.used(TENANT, "openai", 1, failed=False, rejected=False)
    for path in (FLEET, TENANTS):
        assert (switched_off.client.get(path).status_code, harness.client.get(path).status_code) == (404, 503)
