"""Keys in the texts that would be stored: refused by name before anything is recorded, or kept as their mask."""

import base64
import logging
from urllib.parse import quote

import pytest

from domain.access.roles import Role
from tests.api.conftest import CREDENTIALS, KEYS, SUPER_KEY, TENANT

ENTRIES, EXPORT, USAGE = "/api/v1/audit/entries", "/api/v1/audit/export", "/api/v1/audit/usage"
SHAPED, OPAQUE = "sk-proj-Zq81xkLmN0pQ77", "opaque-key-of-vendor-77"
OPENAI = f"{CREDENTIALS}/openai"
FORMATS = ("csv", "jsonl", "ocsf", "cloudevents")

WRITTEN = {
    "as it is": str,
    "in upper case": str.upper,
    "percent-encoded": lambda key: "".join(f"%{ord(one):02X}" for one in key),
    "as JSON": lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
}


@pytest.fixture(params=WRITTEN)
def written(request):
    """A way to write a key into a text."""
    return WRITTEN[request.param]


@pytest.fixture(params=[SHAPED, OPAQUE], ids=["a key of a known shape", "an opaque key"])
def key(request):
    return request.param


def recorded(harness):
    """Everything that was stored, and everything that readers get of it."""
    harness.recorder.flush()
    exports = [harness.client.get(EXPORT, params={"format": form}).text for form in FORMATS]
    return "\n".join([*map(repr, harness.log.events), harness.client.get(ENTRIES).text, *exports])


def hidden(harness, *texts):
    found = recorded(harness)
    return all(text not in found for text in texts)


def test_a_reason_with_the_key_that_is_set_is_refused_and_not_recorded(harness, key, written):
    text = f"rotated {written(key)}"
    answer = harness.put(api_key=key, headers={"X-Audit-Reason": text})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "X-Audit-Reason")
    entries = harness.client.get(ENTRIES, params={"action": "request-refused"}).json()["entries"]
    assert [(entry["details"]["status"], entry["reason"]) for entry in entries] == [(422, None)]
    assert hidden(harness, text, written(key))


REFUSED_OTHERWISE = [
    pytest.param({"api_key": OPAQUE, "endpoint": "ftp://x"}, {}, id="an endpoint that is not one"),
    pytest.param({"apikey": OPAQUE}, {}, id="the key in an unknown field"),
    pytest.param({"api_key": [OPAQUE]}, {}, id="the key in a list"),
    pytest.param({"api_key": "sk-0123456789"}, {"If-Match": '"v7"'}, id="a precondition that does not hold"),
]


@pytest.mark.parametrize(("body", "headers"), REFUSED_OTHERWISE)
def test_no_refusal_is_recorded_with_its_reason(harness, body, headers):
    reason = {"X-Audit-Reason": f"rotated {OPAQUE}"}
    assert harness.client.put(OPENAI, json=body, headers=reason | headers).status_code >= 400
    assert hidden(harness, OPAQUE)


def test_a_refused_delete_is_recorded_without_its_reason(harness):
    harness.put(api_key=OPAQUE)
    headers = {"X-Audit-Reason": f"leaked {OPAQUE}", "If-Match": '"v7"'}
    assert harness.client.delete(OPENAI, headers=headers).status_code == 412
    assert hidden(harness, OPAQUE)


def test_a_body_that_cannot_be_read_leaves_no_reason(harness):
    headers = {"X-Audit-Reason": f"rotated {OPAQUE}", "Content-Type": "application/json"}
    assert harness.client.put(OPENAI, content=f'{{"api_key": "{OPAQUE}"', headers=headers).status_code == 400
    assert hidden(harness, OPAQUE)


def test_a_delete_keeps_the_mask_of_the_key_that_is_deleted(harness, written):
    harness.put(api_key=OPAQUE)
    text = written(OPAQUE)
    assert harness.client.delete(OPENAI, headers={"X-Audit-Reason": f"leaked {text} today"}).status_code == 200
    (entry,) = harness.client.get(ENTRIES, params={"action": "deleted"}).json()["entries"]
    assert entry["reason"] == f"leaked ...{text[-4:]} today"
    assert hidden(harness, text)


def test_a_replacement_keeps_the_mask_of_the_key_that_is_replaced(harness):
    harness.put(api_key=OPAQUE)
    headers = {"X-Audit-Reason": f"instead of {OPAQUE}", "Idempotency-Key": OPAQUE, "X-Request-ID": OPAQUE}
    assert harness.put(api_key="sk-0123456789", headers=headers).status_code == 200
    (entry,) = harness.client.get(ENTRIES, params={"action": "replaced"}).json()["entries"]
    assert {entry["reason"], entry["command_id"], entry["request_id"]} == {"instead of ...r-77", "...r-77"}
    assert hidden(harness, OPAQUE)


METHODS = [
    pytest.param("PUT", OPENAI, id="a set"),
    pytest.param("DELETE", OPENAI, id="a delete"),
    pytest.param("GET", OPENAI, id="a read"),
    pytest.param("GET", ENTRIES, id="a read of the audit"),
    pytest.param("POST", "/api/v1/sysadmin/encryption-keys/rotations", id="a rotation"),
    pytest.param("POST", "/api/v1/sysadmin/projections/audit_trail/replays", id="a replay"),
]


@pytest.mark.parametrize(("method", "path"), METHODS)
@pytest.mark.parametrize("held", [SHAPED, SUPER_KEY], ids=["a key of a known shape", "the caller's own key"])
def test_a_reason_with_a_key_is_refused_whatever_it_is_for(harness, method, path, held):
    harness.put()
    body = {"api_key": "sk-0123456789"} if method == "PUT" else None
    answer = harness.client.request(method, path, json=body, headers={"X-Audit-Reason": f"with {held}"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "X-Audit-Reason")
    assert held not in answer.text
    assert hidden(harness, held)


@pytest.mark.parametrize(("method", "path"), [one for one in METHODS if one.values[0] != "GET"])
@pytest.mark.parametrize("held", [SHAPED, SUPER_KEY], ids=["a key of a known shape", "the caller's own key"])
def test_an_idempotency_key_that_is_a_key_is_refused(harness, method, path, held):
    body = {"api_key": "sk-0123456789"} if method == "PUT" else None
    answer = harness.client.request(method, path, json=body, headers={"Idempotency-Key": held})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert hidden(harness, held)


def test_an_idempotency_key_that_is_the_key_of_the_body_is_refused(harness):
    answer = harness.put(api_key=OPAQUE, headers={"Idempotency-Key": OPAQUE})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert hidden(harness, OPAQUE)


REQUEST_IDS = [
    pytest.param(SHAPED, {}, id="the shape of a key"),
    pytest.param(SUPER_KEY, {}, id="the caller's own key"),
    pytest.param("a-key-of-no-tenant", {"X-API-Key": "a-key-of-no-tenant"}, id="a key that lets no one in"),
    pytest.param(
        "a-key-of-no-tenant", {"Authorization": "Bearer a-key-of-no-tenant"}, id="a token that lets no one in"
    ),
    pytest.param(OPAQUE, {}, id="the key of the body"),
]


@pytest.mark.parametrize(("request_id", "headers"), REQUEST_IDS)
def test_a_request_id_that_is_a_key_is_another_one(harness, caplog, request_id, headers):
    with caplog.at_level(logging.DEBUG):
        answer = harness.put(api_key=OPAQUE, headers={"X-Request-ID": request_id, **headers})
    assert answer.headers["X-Request-ID"] != request_id
    assert request_id not in str([record.__dict__ for record in caplog.records])
    assert hidden(harness, request_id)


@pytest.mark.parametrize("request_id", ["7c9e6679-7425-40de-944b-e07fc1f90ae7", "0a" * 16, "req-2026.1", "sk-1"])
def test_any_other_plain_request_id_is_kept(harness, request_id):
    answer = harness.put(headers={"X-Request-ID": request_id})
    assert answer.headers["X-Request-ID"] == request_id
    assert harness.log.events[0].request_id == request_id


HEX, WORDS = "0123456789abcdef0123456789abcdef", "correct.horse.battery.staple"
STORED = [OPAQUE, HEX, WORDS, "5f3c2a10-1b2c-4d3e-8f90-a1b2c3d4e5f6"]
CHANGES = [
    pytest.param("PUT", {"json": {"api_key": "sk-0123456789"}}, {}, 200, id="replaced"),
    pytest.param("DELETE", {}, {}, 200, id="deleted"),
    pytest.param("DELETE", {}, {"If-Match": '"v7"'}, 412, id="not deleted"),
    pytest.param("PUT", {"json": {"api_key": ""}}, {}, 422, id="an empty key"),
    pytest.param("PUT", {"json": {"apikey": "x"}}, {}, 422, id="an unknown field"),
    pytest.param("PUT", {"json": {"api_key": "sk-0123456789"}}, {"If-Match": "7"}, 400, id="a malformed header"),
    pytest.param("PUT", {"content": "{"}, {"Content-Type": "application/json"}, 400, id="a body that cannot be read"),
]


@pytest.mark.parametrize(("method", "sent", "headers", "status"), CHANGES)
@pytest.mark.parametrize("stored", STORED)
def test_the_stored_key_as_the_id_of_its_own_change_is_replaced(harness, caplog, stored, method, sent, headers, status):
    harness.put(api_key=stored)
    with caplog.at_level(logging.DEBUG):
        answer = harness.client.request(method, OPENAI, headers={"X-Request-ID": stored, **headers}, **sent)
    assert answer.status_code == status
    assert stored not in f"{answer.headers} {answer.text}"
    assert stored not in str([record.__dict__ for record in caplog.records if "httpx" not in record.name])
    assert hidden(harness, stored)


def test_a_repeated_delete_of_a_key_has_another_id_too(harness, caplog):
    harness.put(api_key=HEX)
    headers = {"X-Request-ID": HEX, "Idempotency-Key": "once"}
    with caplog.at_level(logging.DEBUG):
        answers = [harness.client.delete(OPENAI, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert HEX not in str([record.__dict__ for record in caplog.records if "httpx" not in record.name])


@pytest.mark.parametrize("role", [Role.RUNTIME, Role.AUDITOR, Role.OPERATOR])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
def test_no_answer_shows_the_stored_key_to_a_caller_who_may_not_replace_it(harness, role, method):
    harness.put(api_key=HEX)
    headers = {"X-API-Key": KEYS[role], "X-Request-ID": HEX}
    assert harness.client.request(method, OPENAI, headers=headers).headers["X-Request-ID"] == HEX


def test_the_id_of_a_change_is_kept_if_it_is_any_other(harness):
    harness.put(api_key=HEX)
    for wanted in (WORDS, HEX[::-1]):
        answer = harness.put(api_key="sk-0123456789", headers={"X-Request-ID": wanted})
        assert answer.headers["X-Request-ID"] == wanted
        assert harness.put(api_key="", headers={"X-Request-ID": wanted}).headers["X-Request-ID"] == wanted


SEARCHES = [
    pytest.param("q", f"key:{SHAPED}", "q", id="as a key id in the filter"),
    pytest.param("q", f"key:{OPAQUE}", "key", id="opaque, as a key id in the filter"),
    pytest.param("q", f"fingerprint:{OPAQUE}", "fingerprint", id="opaque, as a fingerprint in the filter"),
    pytest.param("q", f'"who has {SHAPED}"', "q", id="among words in the filter"),
    pytest.param("q", f"actor:{SHAPED}", "q", id="as an actor in the filter"),
    pytest.param("q", quote(SHAPED.replace("-", "%2D")), "q", id="percent-encoded in the filter"),
    pytest.param("q", SUPER_KEY, "q", id="the caller's own in the filter"),
    pytest.param("key_id", SHAPED, "key_id", id="as a key id"),
    pytest.param("key_id", OPAQUE, "key_id", id="opaque, as a key id"),
    pytest.param("key_id", "k0123456789a", "key_id", id="a key id that is too long"),
    pytest.param("fingerprint", OPAQUE, "fingerprint", id="opaque, as a fingerprint"),
    pytest.param("actor", SHAPED, "actor", id="as an actor"),
    pytest.param("actor", SUPER_KEY, "actor", id="the caller's own as an actor"),
    pytest.param("text", f"who has {SHAPED}", "text", id="as a text"),
    pytest.param("tenant_id", SHAPED, "tenant_id", id="as a tenant"),
    pytest.param("provider", SHAPED, "provider", id="as a provider"),
]


@pytest.mark.parametrize(("name", "value", "field"), SEARCHES)
@pytest.mark.parametrize("path", [ENTRIES, f"{EXPORT}?format=csv"], ids=["entries", "export"])
def test_a_search_for_a_key_is_refused_by_name_and_not_recorded(harness, path, name, value, field):
    answer = harness.client.get(path, params={**({"format": "csv"} if "?" in path else {}), name: value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert hidden(harness, SHAPED, OPAQUE, SUPER_KEY)
    assert SHAPED not in answer.text


@pytest.mark.parametrize("name", ["tenant_id", "provider", "since", "after"])
def test_neither_is_a_question_about_usage(harness, name):
    assert harness.client.get(USAGE, params={name: SHAPED}).status_code == 422
    assert hidden(harness, SHAPED)


def test_an_opaque_word_of_a_search_is_kept_as_its_mask(harness):
    assert harness.client.get(ENTRIES, params={"q": f"who has {OPAQUE}"}).status_code == 200
    entries = harness.client.get(ENTRIES, params={"action": "audit-read"}).json()["entries"]
    assert entries[0]["details"]["query"] == "text:who text:has text:...r-77"


AZURE = {"endpoint": "https://res.openai.azure.com", "api_version": "2024-10-21", "deployment_name": "gpt-4o"}
SETTINGS = [
    pytest.param("endpoint", "https://res.openai.azure.com/{}", id="the path of an endpoint"),
    pytest.param("endpoint", "https://{}.openai.azure.com", id="the host of an endpoint"),
    pytest.param("api_version", "{}", id="an API version"),
    pytest.param("deployment_name", "{}", id="a deployment name"),
]


@pytest.mark.parametrize(("name", "form"), SETTINGS)
@pytest.mark.parametrize("held", [SHAPED, OPAQUE], ids=["a key of a known shape", "the key that is set"])
def test_settings_that_hold_a_key_are_refused_by_name(harness, name, form, held):
    answer = harness.put("azure", api_key=OPAQUE, **(AZURE | {name: form.format(held)}))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-credential")
    assert [error["field"] for error in answer.json()["errors"]] == [name]
    assert hidden(harness, held)


def test_settings_that_hold_the_key_they_replace_are_refused(harness):
    harness.put("azure", api_key=OPAQUE, **AZURE)
    answer = harness.put("azure", api_key="another-key-01", **(AZURE | {"deployment_name": OPAQUE}))
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, ["deployment_name"])
    assert hidden(harness, OPAQUE)


def test_a_short_key_is_no_secret(harness):
    answer = harness.put("vllm", api_key="EMPTY", endpoint="https://llm.example.com/EMPTY")
    assert answer.status_code == 200, answer.text
    assert harness.put("vllm", api_key="EMPTY", headers={"X-Audit-Reason": "EMPTY is the key"}).status_code == 200


def test_a_client_of_any_name_is_not_recorded_by_it(harness):
    harness.put(headers={"User-Agent": SHAPED})
    assert harness.client.get(f"{CREDENTIALS}/{SHAPED}").status_code == 404
    assert hidden(harness, SHAPED)


@pytest.mark.parametrize("role", KEYS)
def test_what_a_stranger_sends_is_not_kept(harness, role):
    path = CREDENTIALS.replace(TENANT, SHAPED)
    headers = {"X-API-Key": KEYS[role], "X-Request-ID": SHAPED, "X-Audit-Reason": SHAPED}
    assert harness.client.get(f"{path}/{SHAPED}", headers=headers).status_code >= 400
    assert hidden(harness, SHAPED)
