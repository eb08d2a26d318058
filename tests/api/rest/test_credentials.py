"""Setting, showing and deleting credentials, with preconditions and idempotency keys."""

import re

import pytest

from domain.credentials.secret import Secret
from tests.api.conftest import CREDENTIALS, OTHER_TENANT, TENANT

URL = f"{CREDENTIALS}/openai"
AZURE = {"endpoint": "https://x.openai.azure.com", "api_version": "2024-10-21", "deployment_name": "gpt-4"}


def test_set_answers_with_what_is_true_now(harness):
    answer = harness.put(api_key="  sk-proj-0123456789xyz9 ", endpoint="https://llm.example.com/v1")
    assert answer.json() == {
        "tenant_id": TENANT,
        "provider": "openai",
        "masked_key": "...xyz9",
        "message": "API credential for openai set successfully",
        "set_at": "2026-01-31T12:00:00Z",
        "version": 1,
        "warnings": [],
    }
    assert answer.headers["ETag"] == '"v1"'
    state = harness.current.read(TENANT, "openai").current()
    assert state is not None
    assert harness.sealer.open(state.sealed, state.context) == Secret("sk-proj-0123456789xyz9")


def test_a_tenant_without_credentials_has_an_empty_list(harness):
    assert harness.client.get(CREDENTIALS).json() == {"credentials": []}


def test_the_list_shows_every_live_credential_of_this_tenant_with_the_settings_that_were_set(harness):
    harness.put("vllm")
    harness.put("azure", **AZURE)
    harness.put("mistral", endpoint=None)
    harness.client.delete(f"{CREDENTIALS}/mistral")
    harness.client.put(URL.replace(TENANT, OTHER_TENANT), json={"api_key": "sk-0123456789"})
    common = {"masked_key": "...6789", "encryption_status": "encrypted", "version": 1, "key_id": "k0123456789"}
    common |= {"state": "untested", "last_used_at": None}
    assert harness.client.get(CREDENTIALS).json() == {
        "credentials": [
            {"provider": "azure", "configured_at": "2026-01-31T12:00:01Z", "config": AZURE, **common},
            {"provider": "vllm", "configured_at": "2026-01-31T12:00:00Z", "config": {}, **common},
        ]
    }


def test_a_credential_that_cannot_be_opened_is_shown_as_unreadable(harness):
    harness.put()
    harness.sealer.lose_all()
    assert harness.client.get(URL).json()["encryption_status"] == "unreadable"
    listed = harness.client.get(CREDENTIALS).json()["credentials"][0]
    assert (listed["encryption_status"], listed["state"]) == ("unreadable", "unreadable")


def test_a_credential_that_the_provider_refuses_is_shown_at_once_until_it_takes_it_or_it_is_replaced(harness):
    def shown():
        listed = harness.client.get(CREDENTIALS).json()["credentials"][0]
        assert listed == harness.client.get(URL).json()
        return listed["encryption_status"], listed["state"]

    harness.put()
    assert shown() == ("encrypted", "untested")
    harness.meter.used(TENANT, "openai", 1, failed=True, rejected=True)
    assert shown() == ("encrypted", "credential-rejected")
    harness.meter.used(TENANT, "openai", 1, failed=False, rejected=False)
    assert shown() == ("encrypted", "in-order")
    harness.meter.used(TENANT, "openai", 1, failed=True, rejected=True)
    harness.put(api_key="sk-another-key")
    assert shown() == ("encrypted", "untested")
    harness.meter.used(TENANT, "openai", 1, failed=True, rejected=True)
    assert shown() == ("encrypted", "untested"), "a late answer to a call with the key before"
    harness.meter.used(TENANT, "openai", 2, failed=False, rejected=False)
    assert shown() == ("encrypted", "in-order")
    harness.sealer.lose_all()
    harness.meter.used(TENANT, "openai", 2, failed=True, rejected=True)
    assert shown() == ("unreadable", "unreadable")


def test_a_credential_is_shown_with_the_end_of_its_last_call_however_that_ended(harness):
    harness.put()
    assert harness.client.get(URL).json()["last_used_at"] is None
    harness.meter.used(TENANT, "openai", 1, failed=False, rejected=False)
    harness.meter.used(TENANT, "openai", 1, failed=True, rejected=False)
    (record,) = harness.client.get("/api/v1/audit/usage").json()["usage"]
    shown = harness.client.get(URL).json()
    assert (shown["state"], shown["last_used_at"]) == ("in-order", record["last_used_at"])
    assert shown == harness.client.get(CREDENTIALS).json()["credentials"][0]


def test_setting_a_rejected_credential_again_as_it_is_does_not_make_it_accepted(harness):
    harness.put()
    harness.meter.used(TENANT, "openai", 1, failed=True, rejected=True)
    assert harness.client.get(URL).json()["state"] == "credential-rejected"
    assert harness.put().json()["version"] == 1
    assert harness.client.get(URL).json()["state"] == "credential-rejected"


def test_one_is_shown_with_its_version_as_etag(harness):
    harness.put()
    shown = harness.client.get(URL)
    assert (shown.headers["ETag"], shown.json()) == ('"v1"', harness.client.get(CREDENTIALS).json()["credentials"][0])


def test_delete_takes_it_out_and_a_second_delete_finds_nothing(harness):
    harness.put()
    answer = harness.client.delete(URL)
    assert answer.json() == {
        "tenant_id": TENANT,
        "provider": "openai",
        "message": "API credential for openai deleted successfully",
    }
    assert answer.headers["ETag"] == '"v2"'
    for again in (harness.client.delete(URL), harness.client.get(URL)):
        assert (again.status_code, again.json()["code"]) == (404, "credential-not-found")


def test_setting_what_is_already_set_records_nothing(harness):
    harness.put()
    again = harness.put()
    assert (again.status_code, again.json()["version"], again.json()["set_at"]) == (200, 1, "2026-01-31T12:00:00Z")
    assert len(harness.log.events) == 1


@pytest.mark.parametrize(
    ("provider", "kept", "spelling"),
    [
        ("openai", "https://llm.example.com/v1", "https://LLM.example.com:443/v1/chat/completions/"),
        ("vllm", "http://tenant-vllm:8000", "http://tenant-vllm:8000/v1/"),
        ("anthropic", "https://llm.example.com", "https://llm.example.com/v1/messages"),
    ],
)
def test_an_endpoint_is_kept_in_one_form_and_another_spelling_of_it_changes_nothing(harness, provider, kept, spelling):
    for endpoint in (kept, spelling, f"{kept}/"):
        answer = harness.put(provider, endpoint=endpoint)
        assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert len(harness.log.events) == 1
    assert harness.client.get(f"{CREDENTIALS}/{provider}").json()["config"] == {"endpoint": kept}


def test_an_endpoint_that_was_stored_in_another_spelling_is_the_same(harness, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("domain.credentials.providers.kept_endpoint", lambda form, endpoint: endpoint)
        harness.put("vllm", endpoint="http://tenant-vllm:8000/v1/")
    assert harness.put("vllm", endpoint="http://tenant-vllm:8000").json()["version"] == 1
    assert len(harness.log.events) == 1
    assert harness.client.get(f"{CREDENTIALS}/vllm").json()["config"] == {"endpoint": "http://tenant-vllm:8000/v1/"}


@pytest.mark.parametrize(
    "pasted",
    [
        *('"sk-tenant-key-abcdef"', "“sk-tenant-key-abcdef”", "OPENAI_API_KEY=sk-tenant-key-abcdef"),
        *("${OPENAI_API_KEY}", "<your-key>", "Bearer sk-tenant-key-abcdef", "...6789", "…6789", "sk-****6789"),
    ],
)
def test_what_was_pasted_in_place_of_a_key_replaces_no_good_one_and_the_mistake_is_named(harness, pasted):
    harness.put()
    answer = harness.put(api_key=pasted)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-credential")
    (error,) = answer.json()["errors"]
    assert error["field"] == "api_key"
    assert "give " in error["detail"]
    assert "abcdef" not in answer.text
    assert len(harness.log.events) == 1


def test_a_key_that_looks_cut_off_is_taken_with_a_warning(harness):
    answer = harness.put(api_key="sk-proj-abc123...")
    assert answer.status_code == 200
    (warning,) = answer.json()["warnings"]
    assert warning.startswith("api_key: ends in three dots")
    assert "abc123" not in answer.text
    again = harness.put(api_key="sk-proj-abc123...")
    assert (again.json()["version"], len(again.json()["warnings"])) == (1, 1)


def test_setting_replaces_the_whole(harness):
    harness.put(endpoint="https://llm.example.com")
    assert harness.put().json()["version"] == 2
    assert harness.client.get(URL).json()["config"] == {}


@pytest.mark.parametrize(
    ("provider", "body", "fields"),
    [
        pytest.param("azure", {}, {"endpoint", "api_version", "deployment_name"}, id="azure without its settings"),
        pytest.param("openai", {"api_version": "1"}, {"api_version"}, id="a setting the provider has no use for"),
        pytest.param("openai", {"api_key": "short"}, {"api_key"}, id="a key of five characters"),
        pytest.param("openai", {"api_key": "x" * 4097}, {"api_key"}, id="a key of 4097 characters"),
        pytest.param("openai", {"api_key": " \t "}, {"api_key"}, id="a blank key"),
        pytest.param("openai", {"api_key": "sk-0123 456789"}, {"api_key"}, id="a key with a blank inside"),
        pytest.param("openai", {"api_key": "sk-0123456789é"}, {"api_key"}, id="a key outside ASCII"),
        pytest.param("openai", {"api_key": None}, {"api_key"}, id="no key"),
        pytest.param("openai", {"endpoint": "http://x.example.com"}, {"endpoint"}, id="an endpoint without TLS"),
        pytest.param("openai", {"endpoint": "https://169.254.169.254"}, {"endpoint"}, id="a metadata address"),
        pytest.param("openai", {"endpoint": "https://10.0.0.1"}, {"endpoint"}, id="a private address"),
        pytest.param("openai", {"endpoint": ""}, {"endpoint"}, id="an empty endpoint"),
        pytest.param("openai", {"endpoint": 1, "api_key": 2}, {"endpoint", "api_key"}, id="two wrong types"),
        pytest.param("openai", {"version": 3}, {"version"}, id="a field of the answer"),
        pytest.param("openai", {"a": 1, "b": 2}, {"a", "b"}, id="two unknown fields"),
    ],
)
def test_faults_are_listed_by_field_and_nothing_is_recorded(harness, provider, body, fields):
    answer = harness.put(provider, **body)
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == fields
    assert harness.log.events == []


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(TENANT.upper(), id="upper case"),
        pytest.param(TENANT.replace("-", ""), id="without hyphens"),
        pytest.param(f"urn:uuid:{TENANT}", id="a URN"),
        pytest.param(f"{{{TENANT}}}", id="in braces"),
        pytest.param(f"{TENANT}%0A", id="with a line end"),
        pytest.param(f"%20{TENANT}", id="with a blank"),
        pytest.param("tenant-1", id="no UUID"),
    ],
)
def test_a_tenant_has_one_spelling(harness, spelling):
    for method, path in (("PUT", URL), ("GET", URL), ("DELETE", URL), ("GET", CREDENTIALS), ("GET", f"{URL}/history")):
        body = {"api_key": "sk-0123456789"} if method == "PUT" else None
        answer = harness.client.request(method, path.replace(TENANT, spelling), json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "tenant_id")
        assert "lower case with hyphens" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["OpenAI", "openai%00", "%D0%BEpenai", "openai%20", "gpt"])
def test_a_provider_has_one_spelling_too(harness, name):
    answer = harness.put(name)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-provider")
    assert "openai, anthropic, mistral, ovhcloud, berget, azure, vllm" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"If-Match": '"v2"'}, 200, id="the version it is at"),
        pytest.param({"If-Match": '"v1", "v2"'}, 200, id="a list that has it"),
        pytest.param({"If-Match": ' ,, "v2" ,\t'}, 200, id="a list with empty members"),
        pytest.param({"If-Match": "*"}, 200, id="any version"),
        pytest.param({"If-Match": '"v1"'}, 412, id="another version"),
        pytest.param({"If-Match": 'W/"v2"'}, 412, id="a weak tag never matches"),
        pytest.param({"If-Match": '"v02", "2", "V2", "", "v2,"'}, 412, id="tags we never gave"),
        pytest.param({"If-Match": '"v99999999999999999999999"'}, 412, id="a version beyond counting"),
        pytest.param({"If-None-Match": "*"}, 412, id="only if there is none"),
        pytest.param({"If-Match": "*", "If-None-Match": "*"}, 412, id="both at once"),
        pytest.param({"If-Match": '"v2"', "If-None-Match": "*"}, 412, id="this version and none"),
        pytest.param({"If-Match": "v2"}, 400, id="a tag without quotes"),
        pytest.param({"If-Match": ""}, 400, id="nothing"),
        pytest.param({"If-Match": '"v2" "v3"'}, 400, id="no comma"),
        pytest.param({"If-Match": '*, "v2"'}, 400, id="a star in a list"),
        pytest.param({"If-Match": '"v2'}, 400, id="an open quote"),
        pytest.param({"If-Match": '"v2"' + ", " * 2000 + "x"}, 400, id="a long list with a fault at its end"),
        pytest.param({"If-None-Match": '"v1"'}, 400, id="none of these versions"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_precondition_holds_or_nothing_happens(harness, method, headers, status):
    harness.put()
    harness.put(api_key="sk-another-key")
    body = {"api_key": "sk-the-third-key"} if method == "PUT" else None
    answer = harness.client.request(method, URL, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(harness.log.events) == (3 if status == 200 else 2)
    if status == 412:
        assert (answer.json()["code"], answer.json()["current_version"]) == ("version-conflict", 2)


def test_headers_sent_twice_are_one_list(harness):
    harness.put()
    headers = [("If-Match", '"v7"'), ("If-Match", '"v1"')]
    assert harness.client.delete(URL, headers=headers).status_code == 200


def test_create_only_works_again_after_a_delete(harness):
    create = {"If-None-Match": "*"}
    assert [harness.put(headers=create).status_code, harness.put(headers=create).status_code] == [200, 412]
    harness.client.delete(URL)
    assert harness.put(headers=create).headers["ETag"] == '"v3"'


def test_a_condition_on_what_is_not_there_does_not_hold(harness):
    assert harness.put(headers={"If-Match": "*"}).status_code == 412
    assert harness.client.delete(URL, headers={"If-Match": '"v1"'}).json()["current_version"] == 0


@pytest.mark.parametrize(
    ("tag", "status"),
    [('"v1"', 304), ('W/"v1"', 304), ('"v0", "v1"', 304), ("*", 304), ('"v2"', 200), ("v1", 400)],
)
def test_a_reader_that_has_this_version_is_told_so(harness, tag, status):
    harness.put()
    answer = harness.client.get(URL, headers={"If-None-Match": tag})
    assert answer.status_code == status
    if status == 304:
        assert (answer.content, answer.headers["ETag"]) == (b"", '"v1"')


@pytest.mark.parametrize("key", ["once", '"once"', "x" * 255, "a b", '"'])
def test_a_command_with_an_idempotency_key_happens_once(harness, key):
    headers = {"Idempotency-Key": key}
    first = harness.put(headers=headers)
    harness.put(api_key="sk-another-key")
    again = harness.put(headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert harness.log.events[0].command_id == (key.strip('"') or '"')
    assert len(harness.log.events) == 2


def test_a_repeated_delete_with_its_key_is_the_same_success(harness):
    harness.put()
    headers = {"Idempotency-Key": "delete-1"}
    assert harness.client.delete(URL, headers=headers).json() == harness.client.delete(URL, headers=headers).json()
    assert len(harness.log.events) == 2


def test_an_idempotency_key_belongs_to_one_request(harness):
    headers = {"Idempotency-Key": "once"}
    harness.put(headers=headers)
    for other in (harness.put(api_key="sk-another-key", headers=headers), harness.client.delete(URL, headers=headers)):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("value", [b"", b'""', b"x" * 256, b"\xe4", b"\x01"])
def test_an_idempotency_key_that_cannot_be_read_is_refused(harness, value):
    answer = harness.client.put(URL, json={"api_key": "sk-0123456789"}, headers={"Idempotency-Key": value})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-header")


def test_an_idempotency_key_given_twice_is_refused(harness):
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert harness.client.put(URL, json={"api_key": "sk-0123456789"}, headers=headers).status_code == 400


def test_without_a_key_every_command_gets_an_id_of_its_own(harness):
    harness.put()
    harness.put("mistral")
    first, second = (event.command_id for event in harness.log.events)
    assert first != second and re.fullmatch("[0-9a-f-]{36}", first)


def test_a_store_that_does_not_answer_is_503_with_a_time_to_wait(harness):
    harness.log.down = True
    for answer in (harness.put(), harness.client.get(CREDENTIALS), harness.client.get(URL), harness.client.delete(URL)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert "same Idempotency-Key" in answer.json()["detail"]


@pytest.mark.parametrize("doubtful", ["sk-proj-abc123...", "your-api-key-here"])
def test_a_placeholder_over_a_live_key_is_refused_by_name(harness, doubtful):
    harness.put(api_key="sk-0123456789")
    answer = harness.put(api_key=doubtful)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-credential")
    (error,) = answer.json()["errors"]
    assert (error["field"], "would replace a key" in error["detail"]) == ("api_key", True)
    assert harness.client.get(f"{CREDENTIALS}/openai").json()["masked_key"] == "...6789"
