"""The history of a credential and the whole audit trail: filters and pages."""

import re
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from api.rest.schemas import Instant
from domain.access.roles import Role
from domain.errors import StoreUnavailableError
from tests.api.conftest import CREDENTIALS, KEYS, OTHER_TENANT, TENANT, Harness

ENTRIES = "/api/v1/audit/entries"
HISTORY = f"{CREDENTIALS}/openai/history"


@pytest.fixture
def filled(harness):
    """Five entries, one a second from 12:00:00 on."""
    harness.put()
    harness.put(
        api_key="sk-another-key",
        headers={"X-API-Key": KEYS[Role.SYSADMIN], "X-Request-ID": "req-2", "X-Audit-Reason": "ticket 4711"},
    )
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
        "erased": [],
        "position": 2,
        "timestamp": "2026-01-31T12:00:01Z",
        "action": "replaced",
        "tenant_id": TENANT,
        "provider": "openai",
        "version": 2,
        "actor": "sysadmin-1",
        "request_id": "req-2",
        "command_id": second["command_id"],
        "causation_id": None,
        "node_time": "2026-01-31T12:00:01Z",
        "masked_key": "...-key",
        "key_id": "k0123456789",
        "fingerprint": "f0123456789abcdef",
        "outcome": "success",
        "role": "sysadmin",
        "source": "api",
        "client_address": "testclient",
        "reason": "ticket 4711",
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
        pytest.param({"action": "deleted"}, [3], id="an action"),
        pytest.param({"outcome": "denied"}, [], id="an outcome that nothing had"),
        pytest.param({"key_id": "k0123456789"}, [1, 2, 4, 5], id="an encryption key"),
        pytest.param({"fingerprint": "f0123456789abcdef", "tenant_id": OTHER_TENANT}, [5], id="the same API key"),
        pytest.param({"text": "TICKET"}, [2], id="a text, whatever the case"),
        pytest.param({"reason": "TICKET"}, [2], id="words of the reason"),
        pytest.param({"q": "reason:openai"}, [], id="words that stand elsewhere"),
        pytest.param({"order": "newest", "limit": "2"}, [5, 4], id="the newest first"),
        pytest.param({"order": "newest", "before": "3"}, [2, 1], id="the newest before a position"),
        pytest.param({"after": "1", "before": "4"}, [2, 3], id="between two positions"),
        pytest.param({"q": f"tenant:{TENANT} action:deleted"}, [3], id="terms of the filter language"),
        pytest.param({"q": "2026-01-31T12:00:01 replaced"}, [], id="words that must appear in one text"),
        pytest.param({"q": "since:1h provider:openai", "actor": "super"}, [1, 3, 5], id="both ways together"),
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
    assert positions(filled.client.get(ENTRIES, params={"after": first["next"]})) == [4, 5, 6, 7]
    assert filled.client.get(f"{ENTRIES}/6").json()["action"] == "audit-read"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param("limit=0", "limit", id="no entries"),
        pytest.param("limit=1001", "limit", id="too many entries"),
        pytest.param("limit=x", "limit", id="a limit that is not a number"),
        pytest.param("after=-1", "after", id="a negative position"),
        pytest.param(f"after={2**63}", "after", id="a position beyond counting"),
        pytest.param("limit=5&limit=6", "limit", id="a limit given twice"),
        pytest.param("page=2", "page", id="an unknown parameter"),
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
        ("provider=GPT", "provider"),
        ("provider=openai%0A", "provider"),
        ("reason=a%00b", "reason"),
        ("text=a%00b", "text"),
        ("provider=opnai", "provider"),
        ("q=provider:mistrall", "provider"),
        ("actor=", "actor"),
        ("actor=a%00b", "actor"),
        ("actor=%F0%9F%98%80", "actor"),
        ("since=2026-01-31T12:00:00", "since"),
        ("until=2026-01-31", "until"),
        ("since=1769860800", "since"),
        ("since=now", "since"),
        ("since=2026-02-30T12:00:00Z", "since"),
        ("action=burned", "action"),
        ("outcome=luck", "outcome"),
        ("key_id=", "key_id"),
        ("fingerprint=a%20b", "fingerprint"),
        ("text=", "text"),
        ("reason=", "reason"),
        ("q=reason:a&reason=a", "reason"),
        ("order=random", "order"),
        ("before=0", "before"),
        ("q=action:burned", "action"),
        ("q=colour:red", "query"),
        ("q=action:set&action=set", "action"),
        (f"q={'x' * 1001}", "q"),
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
    filled.log.down = True
    assert filled.client.get(ENTRIES).status_code == filled.client.get(HISTORY).status_code == 503


def test_an_entry_is_shown_by_its_position(filled):
    assert filled.client.get(f"{ENTRIES}/3").json()["action"] == "deleted"
    missing = filled.client.get(f"{ENTRIES}/4711")
    assert (missing.status_code, missing.json()["code"]) == (404, "audit-entry-not-found")
    assert filled.client.get(f"{ENTRIES}/0").json()["errors"][0]["field"] == "position"


def test_a_reader_is_recorded_and_repeated_reading_is_counted(filled):
    auditor = {"X-API-Key": KEYS[Role.AUDITOR]}
    for _ in range(3):
        assert filled.client.get(ENTRIES, params={"q": "action:set"}, headers=auditor).status_code == 200
    filled.client.get(HISTORY, headers=auditor)
    reads = filled.client.get(ENTRIES, params={"action": "audit-read"}).json()["entries"]
    assert [(one["actor"], one["role"], one["details"]) for one in reads] == [
        ("auditor-1", "auditor", {"view": "entries", "query": "action:set", "count": 1}),
        ("auditor-1", "auditor", {"view": "history", "query": f"tenant:{TENANT} provider:openai", "count": 1}),
    ]
    filled.later(seconds=120)
    filled.recorder.flush()
    counted = filled.client.get(ENTRIES, params={"action": "audit-read", "order": "newest", "limit": 5}).json()
    assert next(one["details"]["count"] for one in counted["entries"] if one["actor"] == "auditor-1") == 2


def test_a_read_that_cannot_be_recorded_is_not_answered(filled, monkeypatch):
    def refuse(events):
        raise StoreUnavailableError

    monkeypatch.setattr(filled.log, "append", refuse)
    assert filled.client.get(ENTRIES).status_code == 503


REFUSED = [
    pytest.param("PUT", f"{CREDENTIALS}/openai", KEYS[Role.AUDITOR], 403, "denied", id="a role that may not"),
    pytest.param("PUT", f"{CREDENTIALS}/openai", "wrong", 401, "denied", id="a key that is not valid"),
    pytest.param("DELETE", f"{CREDENTIALS}/vllm", KEYS[Role.SYSADMIN], 404, "failed", id="nothing to delete"),
    pytest.param("PUT", f"{CREDENTIALS}/openai", KEYS[Role.SYSADMIN], 422, "failed", id="no key in the body"),
]


@pytest.mark.parametrize(("method", "path", "key", "status", "outcome"), REFUSED)
def test_a_refused_request_is_recorded_with_who_where_and_what(harness, method, path, key, status, outcome):
    headers = {"X-API-Key": key, "X-Request-ID": "req-9", "User-Agent": "keyledger-cli/1"}
    answer = harness.client.request(method, path, headers=headers, json={} if method == "PUT" else None)
    assert answer.status_code == status
    (entry,) = harness.client.get(ENTRIES, params={"action": "request-refused"}).json()["entries"]
    known = {value: role.value for role, value in KEYS.items()}
    role = known.get(key, "anonymous")
    assert (entry["outcome"], entry["role"], entry["request_id"]) == (outcome, role, "req-9")
    assert (entry["tenant_id"], entry["provider"], entry["source"]) == (TENANT, path.rpartition("/")[2], "cli")
    assert entry["details"] == {
        "method": method,
        "route": "/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}",
        "status": status,
        "code": answer.json()["code"],
        "count": 1,
    }


def test_a_flood_of_refused_requests_is_one_entry_with_its_number(harness):
    for _ in range(300):
        harness.client.get(CREDENTIALS, headers={"X-API-Key": "guessed"})
    (entry,) = harness.client.get(ENTRIES, params={"outcome": "denied"}).json()["entries"]
    assert entry["details"]["count"] == 300


def test_nothing_that_a_caller_made_up_is_kept_of_a_refused_request(harness):
    canary = "sk-canary-in-a-path"
    harness.client.get(
        f"/api/v1/sysadmin/{canary}/credentials/{canary}?{canary}={canary}", headers={"X-API-Key": canary}
    )
    harness.client.request("PUT", f"{CREDENTIALS}/{canary}", json={"api_key": canary, canary: canary})
    shown = harness.client.get(ENTRIES, params={"action": "request-refused"})
    assert len(shown.json()["entries"]) == 2
    assert canary not in shown.text


@pytest.mark.parametrize(
    "reason",
    ["", " ", "x" * 501, "two\tlines"],
    ids=["empty", "blank", "too long", "a control character"],
)
def test_a_reason_that_is_not_a_text_is_refused(harness, reason):
    answer = harness.put(headers={"X-Audit-Reason": reason})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-header")
    assert "X-Audit-Reason" in answer.json()["detail"]


def test_a_reason_may_be_in_any_language_and_not_hold_the_key(harness):
    harness.put(headers={"X-Audit-Reason": "nyckeln byttes på begäran av Åsa".encode()})
    (entry,) = harness.client.get(ENTRIES, params={"action": "set"}).json()["entries"]
    assert entry["reason"] == "nyckeln byttes på begäran av Åsa"
    refused = harness.put(headers={"X-Audit-Reason": "because of sk-0123456789"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "X-Audit-Reason")


def test_a_service_can_require_a_reason_for_every_change():
    strict = Harness(reason_required=True)
    answer = strict.put()
    assert (answer.status_code, answer.json()["code"]) == (400, "reason-required")
    assert strict.put(headers={"X-Audit-Reason": "onboarding"}).status_code == 200
    assert strict.client.get(CREDENTIALS).status_code == 200
