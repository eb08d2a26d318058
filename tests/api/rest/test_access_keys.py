"""Access keys over HTTP: made, shown, changed, rotated, revoked, and never shown twice."""

import json
from datetime import timedelta
from typing import Any

import pytest

from domain.access.token import is_token
from tests.api.conftest import CREDENTIALS, KEYS, OPENAI, START, SUPER_KEY, TENANT, Harness

KEYS_PATH = "/api/v1/sysadmin/access-keys"
BODY: dict[str, Any] = {"name": "app", "role": "runtime", "tenants": [TENANT], "providers": ["openai"]}
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


def made(harness: Harness, **body: Any) -> dict[str, Any]:
    answer = harness.client.post(KEYS_PATH, json={**BODY, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def chat(harness: Harness, token: str, **more: Any) -> Any:
    return harness.client.post(f"{OPENAI}/chat/completions", json=CHAT, headers={"X-API-Key": token, **more})


def test_a_key_is_made_with_a_token_that_is_shown_once(harness: Harness) -> None:
    answer = harness.client.post(KEYS_PATH, json=BODY, headers={"X-Audit-Reason": "ticket 4711"})
    issued = answer.json()
    assert (answer.status_code, answer.headers["ETag"], answer.headers["Location"]) == (201, '"v1"', f"{KEYS_PATH}/app")
    assert is_token(issued["token"].encode())
    assert (issued["name"], issued["role"], issued["state"]) == ("app", "runtime", "active")
    assert (issued["tenants"], issued["providers"], issued["models"]) == ([TENANT], ["openai"], None)
    shown = harness.client.get(f"{KEYS_PATH}/app").json()
    assert shown == {name: value for name, value in issued.items() if name != "token"}
    assert harness.client.get(f"{KEYS_PATH}/{issued['id']}").json() == shown
    assert harness.client.get(KEYS_PATH).json()["access_keys"] == [shown]
    (event,) = harness.log.events
    assert (event.actor, event.reason) == ("super", "ticket 4711")
    assert issued["token"] not in repr(harness.log.events)


def test_the_list_marks_the_keys_from_the_settings(harness: Harness) -> None:
    found = harness.client.get(KEYS_PATH).json()["environment"]
    assert found[0] == {"name": "super", "role": "sysadmin"}
    assert {one["role"] for one in found} == {"sysadmin", "auditor", "operator", "runtime"}


def test_a_name_from_the_settings_is_refused(harness: Harness) -> None:
    answer = harness.client.post(KEYS_PATH, json={**BODY, "name": "runtime-1"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": 7}, "name"),
        ({"name": "a b"}, "name"),
        ({"role": "king"}, "role"),
        ({"tenants": TENANT}, "tenants"),
        ({"tenants": ["x"]}, "tenants"),
        ({"providers": ["acme"]}, "providers"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"concurrent_calls": True}, "concurrent_calls"),
        ({"role": "auditor", "providers": None, "models": ["gpt-4o"]}, "models"),
        ({"token": "x"}, ""),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_by_its_field(harness: Harness, change: Any, field: str) -> None:
    answer = harness.client.post(KEYS_PATH, json={**BODY, **change})
    assert answer.status_code == 422, answer.text
    assert field in {error["field"] for error in answer.json()["errors"]} | {""}
    assert harness.log.events == []


def test_a_change_keeps_what_is_not_sent(harness: Harness) -> None:
    made(harness, concurrent_calls=3)
    answer = harness.client.patch(f"{KEYS_PATH}/app", json={"providers": None, "requests_per_minute": 60})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"v2"')
    changed = answer.json()
    assert (changed["tenants"], changed["providers"]) == ([TENANT], None)
    assert (changed["requests_per_minute"], changed["concurrent_calls"]) == (60, 3)


@pytest.mark.parametrize("method", ["PATCH", "POST", "DELETE"])
def test_a_command_holds_for_the_version_that_was_named(harness: Harness, method: str) -> None:
    made(harness)
    path = f"{KEYS_PATH}/app/rotate" if method == "POST" else f"{KEYS_PATH}/app"
    body = None if method == "DELETE" else {} if method == "POST" else {"providers": None}
    stale = harness.client.request(method, path, json=body, headers={"If-Match": '"v7"'})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 1)
    assert harness.client.request(method, path, json=body, headers={"If-Match": '"v1"'}).status_code == 200


def test_a_repeated_request_makes_one_key_and_shows_no_token_again(harness: Harness) -> None:
    once = {"Idempotency-Key": "once"}
    first = harness.client.post(KEYS_PATH, json=BODY, headers=once)
    again = harness.client.post(KEYS_PATH, json=BODY, headers=once)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == {**first.json(), "token": None}
    assert len(harness.log.events) == 1


def test_both_tokens_work_until_the_time_that_was_named(harness: Harness) -> None:
    old = made(harness)["token"]
    until = (START + timedelta(minutes=10)).isoformat()
    turned = harness.client.post(f"{KEYS_PATH}/app/rotate", json={"old_token_until": until}).json()
    assert turned["previous_token_until"] == until.replace("+00:00", "Z")
    assert [chat(harness, token).status_code for token in (old, turned["token"])] == [200, 200]
    harness.later(3600)
    assert [chat(harness, token).status_code for token in (old, turned["token"])] == [401, 200]


def test_a_revoked_key_admits_nothing_and_its_use_is_recorded_by_name(harness: Harness) -> None:
    token = made(harness)["token"]
    assert chat(harness, token).status_code == 200
    revoked = harness.client.delete(f"{KEYS_PATH}/app")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    answer = chat(harness, token)
    assert (answer.status_code, answer.json()["code"]) == (401, "access-key-refused")
    assert "was revoked at 2026-01-31" in answer.json()["detail"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="keyledger"'
    harness.recorder.flush()
    assert [(event.actor, event.role) for event in harness.log.events[2:]] == [("app", "runtime")]
    assert harness.client.get(f"{KEYS_PATH}/app").status_code == 404
    assert [one["state"] for one in harness.client.get(KEYS_PATH).json()["access_keys"]] == ["revoked"]


def test_whoever_finds_a_token_can_have_its_key_revoked(harness: Harness) -> None:
    token = made(harness)["token"]
    answer = harness.client.post(f"{KEYS_PATH}/by-token/revoke", json={"token": token})
    assert (answer.status_code, answer.json()["name"], answer.json()["state"]) == (200, "app", "revoked")
    assert chat(harness, token).status_code == 401
    again = harness.client.post(f"{KEYS_PATH}/by-token/revoke", json={"token": token})
    assert (again.status_code, again.json()["code"]) == (404, "access-key-not-found")
    assert token not in json.dumps([answer.text, again.text])


def test_an_expired_key_admits_nothing(harness: Harness) -> None:
    token = made(harness, expires_at=(START + timedelta(minutes=5)).isoformat())["token"]
    assert chat(harness, token).status_code == 200
    harness.later(600)
    answer = chat(harness, token)
    assert (answer.status_code, answer.json()["code"]) == (401, "access-key-refused")
    assert harness.client.get(f"{KEYS_PATH}/app").json()["state"] == "expired"


@pytest.mark.parametrize("role", ["auditor", "operator", "runtime"])
def test_only_a_sysadmin_makes_keys(harness: Harness, role: str) -> None:
    answer = harness.client.post(KEYS_PATH, json=BODY, headers={"X-API-Key": KEYS[role]})  # type: ignore[index]
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_key_for_one_tenant_makes_no_other_key(harness: Harness) -> None:
    token = made(harness, name="narrow", role="sysadmin", providers=None)["token"]
    for method, path in (("POST", KEYS_PATH), ("GET", KEYS_PATH), ("PATCH", f"{KEYS_PATH}/narrow")):
        answer = harness.client.request(method, path, json=BODY, headers={"X-API-Key": token})
        assert (answer.status_code, answer.json()["code"]) == (403, "outside-scope"), (method, path)


def test_access_keys_are_there_without_tenant_credentials(switched_off: Harness) -> None:
    token = made(switched_off)["token"]
    assert chat(switched_off, token).status_code == 200
    assert switched_off.client.get(CREDENTIALS, headers={"X-API-Key": SUPER_KEY}).status_code == 404


def test_models_outside_the_scope_are_not_listed(harness: Harness) -> None:
    token = made(harness, models=["text-*"], surfaces=["openai"])["token"]
    listed = harness.client.get(f"{OPENAI}/models", headers={"X-API-Key": token}).json()["data"]
    assert [one["id"] for one in listed] == ["text-embedding-3-small"]
    hidden = harness.client.get(f"{OPENAI}/models/gpt-4o", headers={"X-API-Key": token})
    assert (hidden.status_code, hidden.json()["code"]) == (403, "outside-scope")


def test_a_limit_is_refused_with_what_would_lift_it(harness: Harness) -> None:
    token = made(harness, requests_per_minute=2)["token"]
    answers = [chat(harness, token) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[-1].json()["code"] == "access-limit-reached"
    assert "requests_per_minute" in answers[-1].json()["detail"]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    harness.client.patch(f"{KEYS_PATH}/app", json={"requests_per_minute": 0})
    assert chat(harness, token).status_code == 200


def test_a_call_in_progress_takes_the_place_that_a_key_has(harness: Harness) -> None:
    token = made(harness, concurrent_calls=1)["token"]
    limits = harness.services.callers.limits
    limits._under_way["app"] = 1
    answer = chat(harness, token)
    assert (answer.status_code, answer.json()["code"]) == (429, "access-limit-reached")
    assert "concurrent_calls" in answer.json()["detail"]
    del limits._under_way["app"]
    assert [chat(harness, token).status_code for _ in range(2)] == [200, 200]
    assert limits._under_way == {}


@pytest.mark.parametrize(
    "content", [b"{broken", b'{"model": "gpt-5", "messages": []}', b'{"messages": []}'], ids=["json", "model", "none"]
)
def test_a_revoked_key_learns_nothing_from_a_request_that_fails_early(harness: Harness, content: bytes) -> None:
    token = made(harness)["token"]
    headers = {"X-API-Key": token, "Content-Type": "application/json"}
    path = f"{OPENAI}/chat/completions"
    before = harness.client.post(path, content=content, headers=headers)
    assert before.status_code in {400, 404, 422}
    harness.client.delete(f"{KEYS_PATH}/app")
    after = harness.client.post(path, content=content, headers=headers)
    assert (after.status_code, after.json()["code"]) == (401, "access-key-refused")


def test_a_token_that_the_ledger_does_not_have_is_a_wrong_key(harness: Harness) -> None:
    token = made(harness)["token"]
    other = "klk_" + "A" * 43 + "2NfijI"
    for key in (other, token[:-1] + "!", token + "x", token.lower()):
        answer = chat(harness, key)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_damaged_row_admits_nothing(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    token = made(harness)["token"]
    read = harness.services.callers.read

    async def of_another_version(digest: str):
        row = await read(digest)
        return row._replace(version=7) if row else None

    monkeypatch.setattr(harness.services.callers, "read", of_another_version)
    answer = chat(harness, token)
    assert (answer.status_code, answer.json()["code"]) == (500, "credential-integrity")
    assert harness.models.calls == []


def test_the_use_of_a_key_is_shown_with_it_and_by_hour(harness: Harness) -> None:
    token = made(harness)["token"]
    assert harness.client.get(f"{KEYS_PATH}/app").json()["last_used_at"] is None
    path = f"/api/v1/tenants/{TENANT}/openai/v1/models"
    for _ in range(3):
        assert harness.client.get(path, headers={"X-API-Key": token}).status_code == 200
    assert harness.client.get(path, headers={"X-API-Key": token, "X-Request-ID": "r"}).status_code == 200
    shown = harness.client.get(f"{KEYS_PATH}/app").json()["last_used_at"]
    assert shown is not None
    (hour,) = harness.client.get(f"{KEYS_PATH}/app/usage").json()["usage"]
    assert (hour["requests"], hour["last_used_at"]) == (4, shown)
    assert harness.client.get(f"{KEYS_PATH}/app/usage", params={"until": START.isoformat()}).json() == {
        "usage": [],
        "next": None,
    }
    assert harness.client.get(f"{KEYS_PATH}/none/usage").status_code == 404


def test_keys_that_no_one_uses_are_found(harness: Harness) -> None:
    used = made(harness, name="used")["token"]
    made(harness, name="unused")
    made(harness, name="revoked")
    harness.client.delete(f"{KEYS_PATH}/revoked")
    harness.later(90 * 86_400)
    made(harness, name="new")
    path = f"/api/v1/tenants/{TENANT}/openai/v1/models"
    assert harness.client.get(path, headers={"X-API-Key": used}).status_code == 200
    since = (START + timedelta(days=60)).isoformat()
    found = harness.client.get(KEYS_PATH, params={"unused_since": since}).json()["access_keys"]
    assert [one["name"] for one in found] == ["unused"]
